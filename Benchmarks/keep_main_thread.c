/* Preloaded into a service that valgrind runs (instructions.py). Swift's runtime ends the main thread when the process has other ones,
   which valgrind does not survive: the thread sleeps instead. */
#include <pthread.h>
#include <unistd.h>

void pthread_exit(void *value) {
    (void)value;
    for (;;) pause();
}
