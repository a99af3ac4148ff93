/* A disk that fails when told to, and a notebook of what was written to it.
 *
 * Loaded into a service with LD_PRELOAD, this stands between SQLite and the C library for the calls that change a file:
 * write, pwrite, pwrite64, ftruncate, ftruncate64, fsync, fdatasync and unlink. It looks only at files below $DATA_DIR
 * whose names end in .sqlite, -wal or -shm; logs, sockets and the lock file pass untouched. A call of SQLite that does
 * not go through one of these names would not be seen: the tests look at the journal to know that the faults have struck.
 *
 * $FAULTS_CONTROL names a file that holds one line while there is a fault:
 *
 *     <calls> <errno> <from> [<suffix>]           for example:  fdatasync,fsync EIO 3 -wal
 *
 * From the <from>-th such call on (counted from 1, and anew whenever the file changes) each of them fails with <errno>:
 * EIO, ENOSPC or EDQUOT. Without a suffix all three kinds of file are meant. A write that fails with ENOSPC has written
 * the first half of its bytes: a disk fills in the middle of a write. No file, no fault.
 *
 * $FAULTS_JOURNAL names a file to which each call that was let through is appended once it is done, each fault as it
 * strikes, and the bytes with every write, so that a test can make the files as they would be after the power failed:
 *
 *     W <name> <offset> <length>\n<bytes>    T <name> <size>\n    S <name>\n    U <name>\n    F <name> <call> <errno>\n
 *
 * for written, truncated, synchronised, unlinked and failed. Several processes may share a journal: each entry is one append.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* One store has one connection, but its files may be closed on another thread than the one that writes. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int ends_in(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* The name within the data directory of a path that is watched; NULL for any other. */
static const char *watched_name(const char *path) {
    static char directory[PATH_MAX];
    if (!directory[0]) {
        const char *given = getenv("DATA_DIR");
        if (!given || !realpath(given, directory)) return NULL;
        strncat(directory, "/", sizeof directory - strlen(directory) - 1);
    }
    size_t length = strlen(directory);
    if (strncmp(path, directory, length) != 0) return NULL;
    if (!ends_in(path, ".sqlite") && !ends_in(path, "-wal") && !ends_in(path, "-shm")) return NULL;
    return path + length;
}

/* The same for a descriptor. Sockets and pipes, which are written most often, cost one fstat. */
static const char *watched(int fd, char path[PATH_MAX]) {
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return watched_name(path);
}

static void note(const char *head, const void *bytes, size_t count) {
    static int journal = -2;
    if (journal == -2) {
        const char *path = getenv("FAULTS_JOURNAL");
        journal = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    }
    if (journal < 0) return;
    struct iovec parts[2] = {{(void *)head, strlen(head)}, {(void *)bytes, count}};
    ssize_t expected = (ssize_t)(parts[0].iov_len + count);
    if (writev(journal, parts, 2) != expected) {
        /* A journal with a hole would prove nothing. */
        dprintf(STDERR_FILENO, "the journal of the faults cannot be written\n");
        _exit(99);
    }
}

/* The errno that this call must fail with; 0 when it may pass. */
static int fault(const char *call, const char *name) {
    static struct timespec read_at;
    static ino_t inode;
    static char calls[128], suffix[32];
    static int error, from, count;

    const char *path = getenv("FAULTS_CONTROL");
    struct stat status;
    if (!path || stat(path, &status) != 0) return 0;
    if (status.st_ino != inode || memcmp(&status.st_mtim, &read_at, sizeof read_at) != 0) {
        char kind[32] = "";
        FILE *file = fopen(path, "re");
        if (!file) return 0;
        suffix[0] = 0;
        int fields = fscanf(file, "%127s %31s %d %31s", calls, kind, &from, suffix);
        fclose(file);
        error = strcmp(kind, "EIO") == 0 ? EIO : strcmp(kind, "ENOSPC") == 0 ? ENOSPC : strcmp(kind, "EDQUOT") == 0 ? EDQUOT : 0;
        if (fields < 3 || !error) {
            dprintf(STDERR_FILENO, "%s is not understood\n", path);
            _exit(99);
        }
        inode = status.st_ino;
        read_at = status.st_mtim;
        count = 0;
    }
    char list[160], wanted[64];
    snprintf(list, sizeof list, ",%s,", calls);
    snprintf(wanted, sizeof wanted, ",%s,", call);
    if (!strstr(list, wanted) || !ends_in(name, suffix) || ++count < from) return 0;
    char head[PATH_MAX + 64];
    snprintf(head, sizeof head, "F %s %s %s\n", name, call, strerrorname_np(error));
    note(head, NULL, 0);
    return error;
}

static ssize_t written(const char *name, off_t offset, const void *bytes, ssize_t result) {
    if (result <= 0 || ends_in(name, "-shm")) return result;
    char head[PATH_MAX + 64];
    snprintf(head, sizeof head, "W %s %lld %zd\n", name, (long long)offset, result);
    note(head, bytes, (size_t)result);
    return result;
}

static ssize_t do_write(const char *call, int fd, const void *bytes, size_t count, off_t offset, int positioned) {
    char path[PATH_MAX];
    const char *name = watched(fd, path);
    if (!name) return positioned ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    pthread_mutex_lock(&mutex);
    if (!positioned) offset = lseek(fd, 0, SEEK_CUR);
    int error = fault(call, name);
    ssize_t result = -1;
    if (!error || (error == ENOSPC && count > 1)) {
        result = syscall(SYS_pwrite64, fd, bytes, error ? count / 2 : count, offset);
        if (result < 0) error = errno;
        written(name, offset, bytes, result);
    }
    if (error) result = -1;
    else if (!positioned) lseek(fd, offset + result, SEEK_SET);
    pthread_mutex_unlock(&mutex);
    if (error) errno = error;
    return result;
}

ssize_t write(int fd, const void *bytes, size_t count) { return do_write("write", fd, bytes, count, 0, 0); }

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return do_write("pwrite", fd, bytes, count, offset, 1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return do_write("pwrite64", fd, bytes, count, offset, 1);
}

/* A call without bytes: fails, or is made and noted. `size` is that of a truncation, else -1. */
static int do_call(const char *call, long number, int fd, off_t size) {
    char path[PATH_MAX], head[PATH_MAX + 64];
    const char *name = watched(fd, path);
    if (!name) return (int)syscall(number, fd, size);
    pthread_mutex_lock(&mutex);
    int error = fault(call, name), result = error ? -1 : (int)syscall(number, fd, size);
    if (!error && result != 0) error = errno;
    if (!error && !ends_in(name, "-shm")) {
        if (size < 0) snprintf(head, sizeof head, "S %s\n", name);
        else snprintf(head, sizeof head, "T %s %lld\n", name, (long long)size);
        note(head, NULL, 0);
    }
    pthread_mutex_unlock(&mutex);
    if (error) errno = error;
    return result;
}

int fsync(int fd) { return do_call("fsync", SYS_fsync, fd, -1); }
int fdatasync(int fd) { return do_call("fdatasync", SYS_fdatasync, fd, -1); }
int ftruncate(int fd, off_t size) { return do_call("ftruncate", SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off64_t size) { return do_call("ftruncate64", SYS_ftruncate, fd, size); }

int unlink(const char *path) {
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int error = errno;
    const char *name = result == 0 ? watched_name(path) : NULL;
    if (name && !ends_in(name, "-shm")) {
        char head[PATH_MAX + 64];
        snprintf(head, sizeof head, "U %s\n", name);
        pthread_mutex_lock(&mutex);
        note(head, NULL, 0);
        pthread_mutex_unlock(&mutex);
    }
    errno = error;
    return result;
}
