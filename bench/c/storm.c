/* storm N : make N orphans of PID 1 that all exit at once, and watch them go.
 * Gives up after 6 s. Prints "T_ALL_GONE_MS MAX_ZOMBIES T_ALL_EXITED_MS LEFT". A zombie is a
 * process that passed its last instruction and still answers kill(pid, 0). */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
int main(int c, char **v) {
    int n = c > 1 ? atoi(v[1]) : 10000, p[2], made = 0;
    struct sh { atomic_int done; pid_t pid[]; } *s =
        mmap(NULL, sizeof *s + n * sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED || pipe(p)) return 1;
    pid_t mid = fork();
    if (!mid) {
        for (int i = 0; i < n; i++) {
            pid_t k = fork();
            if (!k) {
                char b;
                close(p[1]);
                while (read(p[0], &b, 1) < 0 && errno == EINTR) ;
                atomic_fetch_add(&s->done, 1);
                _exit(0);
            }
            s->pid[i] = k;
        }
        _exit(0);
    }
    waitpid(mid, NULL, 0);
    for (int i = 0; i < n; i++) made += s->pid[i] > 0;
    usleep(300000);
    int maxz = 0, lo = 0;
    double t0 = ms(), texit = -1, tgone = -1;
    close(p[1]);
    char *gone = calloc(n, 1);
    int ngone = 0;
    while (ms() - t0 < 6000) {
        for (int i = lo; i < n; i++)
            if (!gone[i] && (s->pid[i] <= 0 || (kill(s->pid[i], 0) && errno == ESRCH))) { gone[i] = 1; ngone++; }
        while (lo < n && gone[lo]) lo++;
        int d = atomic_load(&s->done), z = d - (ngone - (n - made));
        if (z > maxz) maxz = z;
        if (texit < 0 && d >= made) texit = ms() - t0;
        if (ngone == n) { tgone = ms() - t0; break; }
        usleep(200);
    }
    printf("%.3f %d %.3f %d\n", tgone, maxz, texit, n - ngone);
    return 0;
}
