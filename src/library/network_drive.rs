//! Whether a folder lies on another machine: its changes are not told to this one.

use std::path::Path;

/// File systems that live elsewhere, as Linux calls them.
const ELSEWHERE: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "fuse.sshfs", "fuse.rclone", "fuse.davfs", "davfs"];

/// True when the system says so; where it cannot be asked, false.
pub fn is_elsewhere(folder: &Path) -> bool {
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    std::fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| is_elsewhere_by(&mounts, &folder))
}

/// The mount with the longest path that the folder lies below.
fn is_elsewhere_by(mounts: &str, folder: &Path) -> bool {
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        // Blanks in paths are written as octal numbers.
        let at = words.next()?.replace("\\040", " ");
        let kind = words.next()?.to_owned();
        folder.starts_with(&at).then_some((at.len(), kind))
    };
    let nearest = mounts.lines().filter_map(mount).max_by_key(|(len, _)| *len);
    nearest.is_some_and(|(_, kind)| ELSEWHERE.contains(&kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_decides() {
        let mounts =
            "/dev/sda / ext4 rw 0 0\nnas:/m /mnt/my\\040nas nfs4 rw 0 0\n/dev/sdb /mnt/my\\040nas/local ext4 rw 0 0\n";
        assert!(is_elsewhere_by(mounts, Path::new("/mnt/my nas/models")));
        assert!(!is_elsewhere_by(mounts, Path::new("/mnt/my nas/local/models")));
        assert!(!is_elsewhere_by(mounts, Path::new("/home/me")));
    }
}
