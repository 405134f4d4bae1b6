// Stands in for a library of CUDA when the program is linked: every function finds its namesake in the real library at its
// first call. So the program starts where the library is missing, and the function then returns STATUS instead.
//
// root.py compiles this once for each library, with FILE_NAME its file's name, STATUS what its functions return for "not
// here", and "functions.h" a list FORWARD(name) FORWARD(name) … x86-64 Linux only.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORWARD(name) #name,
static const char *const names[] = {
#include "functions.h"
};
#undef FORWARD

#define FORWARD(name) AT_##name,
enum {
#include "functions.h"
    COUNT
};
#undef FORWARD

__attribute__((used, visibility("hidden"))) void *SLOTS[COUNT];

static int not_here(void) { return STATUS; }
static const char *no_text(void) { return FILE_NAME " is not here"; }

// By its name alone, else from CUDA's folder.
static void *opened_library(const char *file) {
    void *opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const char *root = getenv("CUDA_HOME");
    if (!opened && root) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/lib/%s", root, file);
        if (length > 0 && (size_t)length < sizeof path) opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return opened;
}

static void *library(void) {
    static void *opened;
    if (!opened) {
        // NVRTC opens a second file by its name alone, which is found once it is open.
        if (strncmp(FILE_NAME, "libnvrtc", 8) == 0) opened_library("libnvrtc-builtins.so.13.0");
        opened = opened_library(FILE_NAME);
    }
    return opened;
}

// Two threads may find the same function at a time; both write the same address.
__attribute__((used, visibility("hidden"))) void *FIND(unsigned at) {
    void *opened = library();
    void *found = opened ? dlsym(opened, names[at]) : NULL;
    if (found) {
        __atomic_store_n(&SLOTS[at], found, __ATOMIC_RELEASE);
        return found;
    }
    // Those that return a text instead of a status.
    int is_text = strcmp(names[at], "nvrtcGetErrorString") == 0 || strncmp(names[at], "cublasGetStatus", 15) == 0 ||
                  strncmp(names[at], "cublasLtGetStatus", 17) == 0;
    return is_text ? (void *)no_text : (void *)not_here;
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

// Keeps the arguments (six integer registers, rax for the variadic, eight vector registers), finds the function whose
// number is in r11, and jumps to it. At the entry the stack is 8 off a multiple of 16; eight pushes keep that.
__asm__(".text\n.p2align 4\n.type " TEXT(ENTER) ", @function\n" TEXT(ENTER) ":\n"
        "push %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\npush %rax\npush %rbx\n"
        "sub $136, %rsp\n"
        "movups %xmm0, (%rsp)\nmovups %xmm1, 16(%rsp)\nmovups %xmm2, 32(%rsp)\nmovups %xmm3, 48(%rsp)\n"
        "movups %xmm4, 64(%rsp)\nmovups %xmm5, 80(%rsp)\nmovups %xmm6, 96(%rsp)\nmovups %xmm7, 112(%rsp)\n"
        "mov %r11d, %edi\ncall " TEXT(FIND) "\nmov %rax, %r11\n"
        "movups (%rsp), %xmm0\nmovups 16(%rsp), %xmm1\nmovups 32(%rsp), %xmm2\nmovups 48(%rsp), %xmm3\n"
        "movups 64(%rsp), %xmm4\nmovups 80(%rsp), %xmm5\nmovups 96(%rsp), %xmm6\nmovups 112(%rsp), %xmm7\n"
        "add $136, %rsp\n"
        "pop %rbx\npop %rax\npop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\n"
        "jmp *%r11\n");

// The assembler counts the functions as the list above does.
__asm__(".set calotype_count, 0\n");
#define FORWARD(name)                                                                                   \
    __asm__(".globl " #name "\n.type " #name ", @function\n.p2align 4\n" #name ":\nendbr64\n"           \
            "mov " TEXT(SLOTS) " + 8 * calotype_count(%rip), %r11\ntest %r11, %r11\njz 1f\njmp *%r11\n" \
            "1: mov $calotype_count, %r11d\njmp " TEXT(ENTER) "\n"                                      \
            ".set calotype_count, calotype_count + 1\n");
#include "functions.h"
