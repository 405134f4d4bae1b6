"""From the start of the program to its first picture on the screen: python start.py CALOTYPE [ROUNDS]

Needs an X display (DISPLAY, Xvfb will do) and libX11. A round ends when the window is there and its pixels are no longer all
of one colour. Settings and gallery are those of a fresh home.
"""
import ctypes, os, statistics, subprocess, sys, tempfile, time

x11 = ctypes.CDLL("libX11.so.6")
x11.XOpenDisplay.restype = ctypes.c_void_p
x11.XDefaultRootWindow.restype = ctypes.c_ulong
x11.XGetImage.restype = ctypes.c_void_p
x11.XGetPixel.restype = ctypes.c_ulong
ALL_PLANES, Z_PIXMAP = ctypes.c_ulong(2 ** 64 - 1), 2
# A window that goes away while it is looked at is no reason to end.
ignored = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda display, event: 0)
x11.XSetErrorHandler(ignored)


class Attributes(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int), ("width", ctypes.c_int), ("height", ctypes.c_int),
                ("border", ctypes.c_int), ("depth", ctypes.c_int), ("visual", ctypes.c_void_p), ("root", ctypes.c_ulong),
                ("class", ctypes.c_int), ("bit_gravity", ctypes.c_int), ("win_gravity", ctypes.c_int),
                ("backing_store", ctypes.c_int), ("planes", ctypes.c_ulong), ("pixel", ctypes.c_ulong),
                ("save_under", ctypes.c_int), ("colormap", ctypes.c_ulong), ("installed", ctypes.c_int),
                ("map_state", ctypes.c_int), ("masks", ctypes.c_long * 3), ("override", ctypes.c_int), ("screen", ctypes.c_void_p)]


def windows(display, root):
    """Windows of any name that cover a good part of the screen."""
    found, parent = ctypes.c_ulong(), ctypes.c_ulong()
    children, count = ctypes.POINTER(ctypes.c_ulong)(), ctypes.c_uint()
    x11.XQueryTree(display, root, ctypes.byref(found), ctypes.byref(parent), ctypes.byref(children), ctypes.byref(count))
    for i in range(count.value):
        seen = Attributes()
        if x11.XGetWindowAttributes(display, children[i], ctypes.byref(seen)) and seen.map_state == 2 and seen.width > 300:
            yield children[i], seen
    if children:
        x11.XFree(children)


def is_painted(display, window, seen):
    """Whether a line of pixels through the window is of more than one colour."""
    image = x11.XGetImage(display, ctypes.c_ulong(window), 0, seen.height // 2, seen.width, 1, ALL_PLANES, Z_PIXMAP)
    if not image:
        return False
    colours = {x11.XGetPixel(ctypes.c_void_p(image), x, 0) for x in range(0, seen.width, 7)}
    x11.XDestroyImage(ctypes.c_void_p(image))
    return len(colours) > 1


def main(calotype, rounds):
    display = ctypes.c_void_p(x11.XOpenDisplay(None))
    root = ctypes.c_ulong(x11.XDefaultRootWindow(display))
    mapped, painted = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            began, there = time.perf_counter(), None
            process = subprocess.Popen([calotype], env=os.environ | {"HOME": home})
            while process.poll() is None and time.perf_counter() - began < 30:
                ready = list(windows(display, root))
                if ready and there is None:
                    there = time.perf_counter() - began
                if any(is_painted(display, *window) for window in ready):
                    break
                time.sleep(0.002)
            painted.append(time.perf_counter() - began)
            mapped.append(there)
            process.kill()
            process.wait()
            while list(windows(display, root)):
                time.sleep(0.05)
    for what, times in (("window", mapped), ("first picture", painted)):
        print(f"{what}: {statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f}, {rounds} rounds)")


if __name__ == "__main__":
    main(sys.argv[1], int((sys.argv[2:] or [9])[0]))
