/* Locks fail with the errno that NO_LOCKS names, as on a file system that has none. */
#define _GNU_SOURCE
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
static int refused(void) { const char *text = getenv("NO_LOCKS"); return text ? atoi(text) : 0; }
int flock(int fd, int how) {
    int number = refused();
    if (number) { errno = number; return -1; }
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    return real(fd, how);
}
static int control(const char *name, int fd, int command, void *argument) {
    if (refused() && (command == F_SETLK || command == F_SETLKW || command == F_GETLK)) { errno = refused(); return -1; }
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
    return real(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
    va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
    return control("fcntl", fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
    return control("fcntl64", fd, command, argument);
}
