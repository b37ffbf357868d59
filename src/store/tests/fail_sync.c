/* Loaded before the C library in a test's child: from the n-th on, syncing RocksDB's log fails m times as on a broken
   disk, though all that was written can still be read. n comes in FAIL_SYNC_AFTER, m in FAIL_SYNC_COUNT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int syncs;

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 4) return 0;
    path[length] = 0;
    return strcmp(path + length - 4, ".log") == 0;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *after = getenv("FAIL_SYNC_AFTER");
    const char *count = getenv("FAIL_SYNC_COUNT");
    if (after && count && is_log(fd)) {
        int place = atomic_fetch_add(&syncs, 1) - atoi(after);
        if (place >= 0 && place < atoi(count)) {
            errno = EIO;
            return -1;
        }
    }
    return real(fd);
}
