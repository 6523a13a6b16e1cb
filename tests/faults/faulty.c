/* Preloaded into a node, or a PostgreSQL: lets one storage call under a directory fail or take long, or it and all
 * behind it. Which, and how, a test says through a file that both map, while the program runs. Only calls of the kinds
 * asked for are counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* GROW: writes, and reservations, behind the end of a file. A disk that is full takes what needs no more room. */
enum { OPEN = 1, WRITE = 2, SYNC = 4, TRUNCATE = 8, RENAME = 16, MAP = 32, GROW = 64 };
#define LOOK_EVERY_MS 10

/* storage.py has its twin. */
struct control {
    atomic_int armed, kinds, error, for_good, half; /* half: a write that fails takes half of its bytes first */
    atomic_int at, seen, struck;
    atomic_int delay_ms; /* of each call that is struck, or until nothing is armed any more; without an error it is done */
};

static struct control *control;
static char root[PATH_MAX]; /* a copy: PostgreSQL writes its processes' titles over its environment */
static size_t root_length;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTY_CONTROL");
    const char *given = getenv("FAULTY_ROOT");
    if (!path || !given || strlen(given) >= sizeof root) return;
    root_length = strlen(strcpy(root, given));
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped != MAP_FAILED) control = mapped;
}

static int is_under(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int is_file_under(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_under(path);
}

/* As in the kernel, nothing but SIGKILL ends such a wait. */
static void be_late(void) {
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (int waited_ms = 0; waited_ms < control->delay_ms && control->armed; waited_ms += LOOK_EVERY_MS)
        nanosleep(&pause, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Whether this call, known to be under the root, fails; errno is set then. */
static int strikes(void) {
    int place = atomic_fetch_add(&control->seen, 1) + 1;
    if (place != control->at && !(control->for_good && place > control->at)) return 0;
    atomic_fetch_add(&control->struck, 1);
    if (control->delay_ms) be_late();
    errno = control->error;
    return control->error != 0;
}
static int counts(int kind) { return control && control->armed && (control->kinds & kind); }

/* Whether a write of so many bytes at an offset, -1 for where the file is, makes a file longer. */
static int grows(int fd, off_t offset, size_t size) {
    struct stat found;
    if (fstat(fd, &found) || !S_ISREG(found.st_mode)) return 0;
    if (offset < 0) offset = fcntl(fd, F_GETFL) & O_APPEND ? found.st_size : lseek(fd, 0, SEEK_CUR);
    return offset + (off_t)size > found.st_size;
}
static int write_fails(int fd, off_t offset, size_t size) {
    if (!counts(WRITE) && !(counts(GROW) && grows(fd, offset, size))) return 0;
    return is_file_under(fd) && strikes();
}
#define FAILS_AT_FILE(kind, fd) (counts(kind) && is_file_under(fd) && strikes())
#define FAILS_AT_PATH(kind, path) (counts(kind) && is_under(path) && strikes())

static int open_file(int at, const char *path, int flags, mode_t mode) {
    if (FAILS_AT_PATH(OPEN, path)) return -1;
    return syscall(SYS_openat, at, path, flags, mode);
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

/* How many bytes a write that is struck takes before it fails: -1, and it fails at once. */
static ssize_t struck_size(size_t size) { return control->half && size > 1 ? (ssize_t)(size / 2) : -1; }

ssize_t write(int fd, const void *data, size_t size) {
    if (write_fails(fd, -1, size)) {
        ssize_t part = struck_size(size);
        return part < 0 ? -1 : syscall(SYS_write, fd, data, part);
    }
    return syscall(SYS_write, fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (write_fails(fd, offset, size)) {
        ssize_t part = struck_size(size);
        return part < 0 ? -1 : syscall(SYS_pwrite64, fd, data, part, offset);
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }

/* Of several pieces, a write that is struck takes none. */
static size_t size_of(const struct iovec *pieces, int count) {
    size_t size = 0;
    for (int i = 0; i < count; i++) size += pieces[i].iov_len;
    return size;
}
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    return write_fails(fd, -1, size_of(pieces, count)) ? -1 : syscall(SYS_writev, fd, pieces, count);
}
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    if (write_fails(fd, offset, size_of(pieces, count))) return -1;
    return syscall(SYS_pwritev, fd, pieces, count, offset, 0L);
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t offset) {
    return pwritev(fd, pieces, count, offset);
}

/* Where a file system has no reservations, libc would write zeroes instead; PostgreSQL does so itself. */
int posix_fallocate(int fd, off_t offset, off_t size) {
    if (write_fails(fd, offset, size)) return errno;
    return syscall(SYS_fallocate, fd, 0, offset, size) ? errno : 0;
}
int posix_fallocate64(int fd, off_t offset, off_t size) { return posix_fallocate(fd, offset, size); }

int fsync(int fd) { return FAILS_AT_FILE(SYNC, fd) ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return FAILS_AT_FILE(SYNC, fd) ? -1 : syscall(SYS_fdatasync, fd); }
int ftruncate(int fd, off_t size) { return FAILS_AT_FILE(TRUNCATE, fd) ? -1 : syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return FAILS_AT_PATH(RENAME, to) ? -1 : syscall(SYS_renameat2, from_at, from, to_at, to, flags);
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renameat2(from_at, from, to_at, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && !(flags & MAP_ANONYMOUS) && FAILS_AT_FILE(MAP, fd)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}
