/* Preloaded into a node: writes down, in their order, all that it does to the files under one directory, so that
 * disk.py can tell what a power loss would have left of them. SIGKILL alone keeps the page cache, and so hides every
 * sync that is missing.
 *
 * Each change is made and logged under one lock, so the log's order is the changes' own. A change that was made but
 * not logged, as the process was killed in between, counts as one that never reached the disk. Writes through a mapping
 * are not seen: SQLite's -shm file alone is written so, and it is made anew from the log after a crash.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_length;


struct __attribute__((packed)) record {
    char kind;
    uint64_t inode, offset;
    uint32_t first_length, second_length;
};

/* Begin to record; 0, or the reason as an errno. Called once, by the launcher. */
int recorder_begin(const char *directory, const char *log) {
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    root_length = strlen(directory);
    if (root_length >= sizeof root) return ENAMETOOLONG;
    memcpy(root, directory, root_length + 1);
    log_fd = fd;
    return 0;
}

static void append(char kind, uint64_t inode, uint64_t offset, const void *first, size_t first_length,
                   const void *second, size_t second_length) {
    struct record record = {kind, inode, offset, first_length, second_length};
    struct iovec parts[3] = {{&record, sizeof record}, {(void *)first, first_length}, {(void *)second, second_length}};
    size_t wanted = sizeof record + first_length + second_length;
    /* A log that cannot be trusted must not be judged by. */
    if ((size_t)syscall(SYS_writev, log_fd, parts, 3) != wanted) _exit(97);
}

/* The part of an absolute path that is under the root; NULL if it is not there. */
static const char *under(const char *path) {
    if (strncmp(path, root, root_length) || path[root_length] != '/') return NULL;
    return path + root_length + 1;
}

/* The path of an open file, or NULL if it is not under the root. */
static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    if (!strcmp(buffer, root)) return "";
    return under(buffer);
}

/* A path as the program gave it, absolute, and then as above. */
static const char *resolved(int directory, const char *path, char *buffer) {
    if (path[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", path);
    } else if (directory == AT_FDCWD) {
        if (!getcwd(buffer, PATH_MAX)) return NULL;
        size_t length = strlen(buffer);
        snprintf(buffer + length, PATH_MAX - length, "/%s", path);
    } else {
        if (!path_of(directory, buffer)) return NULL;
        size_t length = strlen(buffer);
        snprintf(buffer + length, PATH_MAX - length, "/%s", path);
    }
    return under(buffer);
}

/* The inode of an open file under the root, or 0. */
static uint64_t recorded(int fd, char *buffer) {
    struct stat found;
    if (log_fd < 0 || fd == log_fd || fstat(fd, &found) || !S_ISREG(found.st_mode)) return 0;
    return path_of(fd, buffer) ? found.st_ino : 0;
}

/* --- opening */

static int open_file(int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *inside;
    if (log_fd < 0 || !(flags & (O_CREAT | O_TRUNC)) || !(inside = resolved(directory, path, buffer)))
        return syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&turn);
    struct stat before, after;
    int existed = !lstat(buffer, &before);
    int fd = syscall(SYS_openat, directory, path, flags, mode);
    int error = errno;
    if (fd >= 0 && !fstat(fd, &after)) {
        if (!existed) append('C', after.st_ino, 0, inside, strlen(inside), NULL, 0);
        else if (flags & O_TRUNC) append('T', after.st_ino, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return fd;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_file(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_file(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_file(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_file(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* --- writing */

ssize_t write(int fd, const void *data, size_t size) {
    char buffer[PATH_MAX];
    uint64_t inode = recorded(fd, buffer);
    if (!inode) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&turn);
    ssize_t written = syscall(SYS_write, fd, data, size);
    int error = errno;
    if (written > 0) append('W', inode, lseek(fd, 0, SEEK_CUR) - written, data, written, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    char buffer[PATH_MAX];
    uint64_t inode = recorded(fd, buffer);
    if (!inode) return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&turn);
    ssize_t written = syscall(SYS_pwrite64, fd, data, size, offset);
    int error = errno;
    if (written > 0) append('W', inode, offset, data, written, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return written;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

/* Nobody writes so under the root today; if somebody begins to, the campaign must not go on blind. */
static void refuse_unseen(int fd) {
    char buffer[PATH_MAX];
    if (recorded(fd, buffer)) _exit(96);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    refuse_unseen(fd);
    return syscall(SYS_writev, fd, parts, count);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    refuse_unseen(out);
    return syscall(SYS_sendfile, out, in, offset, count);
}
ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t count, unsigned flags) {
    refuse_unseen(out);
    return syscall(SYS_copy_file_range, in, from, out, to, count, flags);
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
    refuse_unseen(fd);
    return syscall(SYS_fallocate, fd, mode, offset, length);
}

int ftruncate(int fd, off_t size) {
    char buffer[PATH_MAX];
    uint64_t inode = recorded(fd, buffer);
    if (!inode) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_ftruncate, fd, size), error = errno;
    if (!result) append('T', inode, size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

/* --- making it last */

static int sync_file(int number, int fd) {
    char buffer[PATH_MAX];
    struct stat found;
    const char *inside = NULL;
    if (log_fd < 0 || fstat(fd, &found) || !(inside = path_of(fd, buffer))) return syscall(number, fd);
    pthread_mutex_lock(&turn);
    int result = syscall(number, fd), error = errno;
    if (!result) {
        if (S_ISDIR(found.st_mode)) append('D', found.st_ino, 0, inside, strlen(inside), NULL, 0);
        else append('S', found.st_ino, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}
int fsync(int fd) { return sync_file(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }

/* --- names */

static int rename_file(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *old = NULL, *new = NULL;
    if (log_fd >= 0) old = resolved(from_at, from, from_buffer), new = resolved(to_at, to, to_buffer);
    if (!old || !new) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_renameat2, from_at, from, to_at, to, flags), error = errno;
    if (!result) append('R', 0, 0, old, strlen(old), new, strlen(new));
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}
int rename(const char *from, const char *to) { return rename_file(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return rename_file(from_at, from, to_at, to, 0);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return rename_file(from_at, from, to_at, to, flags);
}

static int remove_name(int at, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *inside = log_fd < 0 ? NULL : resolved(at, path, buffer);
    if (!inside) return syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_unlinkat, at, path, flags), error = errno;
    if (!result) append('U', 0, 0, inside, strlen(inside), NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}
int unlink(const char *path) { return remove_name(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return remove_name(at, path, flags); }

static int make_directory(int at, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *inside = log_fd < 0 ? NULL : resolved(at, path, buffer);
    if (!inside) return syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_mkdirat, at, path, mode), error = errno;
    if (!result) append('M', 0, 0, inside, strlen(inside), NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}
int mkdir(const char *path, mode_t mode) { return make_directory(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return make_directory(at, path, mode); }
