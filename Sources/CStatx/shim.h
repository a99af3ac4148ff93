// glibc shows statx only to those who ask for its GNU extensions, which Swift's module of it does not.
#ifndef CHECKOUT_CSTATX_SHIM_H
#define CHECKOUT_CSTATX_SHIM_H

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct cstatx_file {
    unsigned long long inode;
    // When it was made; 0 where the file system does not know.
    long long made_seconds;
    unsigned int made_nanoseconds;
};

// Which file there is at a path. 0, or -1 if there is none that can be looked at.
static inline int cstatx_look(const char *path, struct cstatx_file *file) {
    struct statx found;
    if (syscall(SYS_statx, AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &found) != 0) return -1;
    file->inode = found.stx_ino;
    file->made_seconds = found.stx_mask & STATX_BTIME ? found.stx_btime.tv_sec : 0;
    file->made_nanoseconds = found.stx_mask & STATX_BTIME ? found.stx_btime.tv_nsec : 0;
    return 0;
}

#endif
