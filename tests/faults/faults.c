/* Stands before the C library (LD_PRELOAD) and lets the N-th call that changes a file
   in one folder fail, or kills the process there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, FAIL, FULL, KILL, HALF };

static char folder[4096];
static int mode, number;
static long at;
static long *count; /* shared with the parent, which reads it when this one is dead */

/* From here on counts what is done in `path`. */
void faults_arm(const char *path, int what, long nth, int error)
{
    if (!count)
        count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *count = 0;
    strncpy(folder, path, sizeof folder - 1);
    mode = what;
    at = nth;
    number = error;
}

void faults_disarm(void) { folder[0] = 0; }

long faults_count(void) { return count ? *count : 0; }

static int inside(const char *path)
{
    size_t n = strlen(folder);
    return n && path && strncmp(path, folder, n) == 0
        && (path[n] == 0 || path[n] == '/');
}

static int file_inside(int fd)
{
    char link[64], path[4096];
    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return inside(path);
}

/* Whether this call, one that needs room on the disk or not, fails. */
static int fails(int needs_room)
{
    long n = __sync_add_and_fetch(count, 1);
    if ((mode == FAIL && n == at) || (mode == FULL && n >= at && needs_room)) {
        errno = number;
        return 1;
    }
    return 0;
}

static void after(void)
{
    if (mode == KILL && *count == at)
        kill(getpid(), SIGKILL);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

#define GUARDED(is_inside, needs_room, call) \
    if (!(is_inside)) \
        return call; \
    if (fails(needs_room)) \
        return -1; \
    { \
        __typeof__(call) result = call; \
        int kept = errno; \
        after(); \
        errno = kept; \
        return result; \
    }

int rename(const char *a, const char *b)
{
    REAL(rename);
    GUARDED(inside(b), 0, real(a, b))
}

int renameat(int x, const char *a, int y, const char *b)
{
    REAL(renameat);
    GUARDED(inside(b), 0, real(x, a, y, b))
}

int unlink(const char *path)
{
    REAL(unlink);
    GUARDED(inside(path), 0, real(path))
}

int unlinkat(int x, const char *path, int flags)
{
    REAL(unlinkat);
    GUARDED(inside(path), 0, real(x, path, flags))
}

int mkdir(const char *path, mode_t bits)
{
    REAL(mkdir);
    GUARDED(inside(path), 1, real(path, bits))
}

int fsync(int fd)
{
    REAL(fsync);
    GUARDED(file_inside(fd), 0, real(fd))
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(write);
    if (mode == HALF && file_inside(fd) && *count + 1 >= at) {
        ++*count;
        real(fd, data, n / 2);
        kill(getpid(), SIGKILL);
    }
    GUARDED(file_inside(fd), 1, real(fd, data, n))
}

#define OPENING(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(name); \
        mode_t bits = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            bits = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        GUARDED((flags & O_CREAT) && inside(path), 1, real(path, flags, bits)) \
    }

OPENING(open)
OPENING(open64)
