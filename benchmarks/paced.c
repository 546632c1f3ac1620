/* Asks a server at a fixed rate, or as fast as it answers: see paced.py, which compiles and starts it.

   One thread, so many connections, each with one question at a time. A question is due at its moment whether or not a
   connection is free, and its latency counts from then. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, HEAD_BYTES = 512, ANSWER_BYTES = 1 << 22 };

struct connection {
    int socket;
    int is_asked;
    double due;
    size_t have;
    char *answer;
};

static int is_redis;
static unsigned long keys, first;
static char *body, *body_type;
static size_t body_bytes;
static struct connection connections[CONNECTIONS_MAX];
/* A ring, so that every connection has its turn. */
static int free_ones[CONNECTIONS_MAX], free_count, next_free;
static double *latencies;
static size_t answers, noted, room;
static unsigned long failures;
static unsigned long long state = 7;

static void stop(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static unsigned long draw(void)
{
    /* SplitMix64; the same questions in every run. */
    unsigned long long z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % keys;
}

static void send_all(struct connection *to, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t sent = send(to->socket, data, bytes, MSG_NOSIGNAL);
        if (sent < 0)
            stop("send");
        data += sent;
        bytes -= sent;
    }
}

static void ask(struct connection *to, double due)
{
    char head[HEAD_BYTES], key[32];
    int bytes;
    to->due = due;
    to->is_asked = 1;
    to->have = 0;
    if (body) {
        bytes = snprintf(head, sizeof head,
                         "POST /v1/verdicts HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nAccept: %s\r\n"
                         "Content-Length: %zu\r\n\r\n", body_type, body_type, body_bytes);
        send_all(to, head, bytes);
        send_all(to, body, body_bytes);
        return;
    }
    int length = snprintf(key, sizeof key, "+%lu", first + draw());
    if (is_redis)
        bytes = snprintf(head, sizeof head, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", length, key);
    else
        bytes = snprintf(head, sizeof head, "GET /v1/verdicts/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", key);
    send_all(to, head, bytes);
}

/* 1 for a good answer, 0 for another, -1 if it is not all there. */
static int judge(struct connection *of)
{
    of->answer[of->have] = 0;
    if (is_redis) {
        char *end = strstr(of->answer, "\r\n");
        if (!end)
            return -1;
        if (of->answer[0] != '$')
            return 0;
        long length = strtol(of->answer + 1, NULL, 10);
        return length < 0 || of->have >= (size_t)(end + 4 - of->answer) + length ? 1 : -1;
    }
    char *end = strstr(of->answer, "\r\n\r\n");
    if (!end)
        return -1;
    char *length = strcasestr(of->answer, "\r\nContent-Length:");
    if (!length || length > end)
        return 0;
    if (of->have < (size_t)(end + 4 - of->answer) + strtoul(length + 17, NULL, 10))
        return -1;
    return !strncmp(of->answer, "HTTP/1.1 200 ", 13);
}

static void note(double latency)
{
    if (noted == room && !(latencies = realloc(latencies, (room = room ? 2 * room : 1 << 16) * sizeof *latencies)))
        stop("memory");
    latencies[noted++] = latency;
}

static void answered(struct connection *by, int is_good)
{
    by->is_asked = 0;
    if (!is_good) {
        failures++;
        return;
    }
    answers++;
    note(now() - by->due);
}

static void set_free(int connection)
{
    free_ones[(next_free + free_count++) % CONNECTIONS_MAX] = connection;
}

static struct connection *take_free(void)
{
    int taken = free_ones[next_free];
    next_free = (next_free + 1) % CONNECTIONS_MAX;
    free_count--;
    return &connections[taken];
}

static int connect_to(const char *uds, int port)
{
    int made, one = 1;
    if (*uds) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        strncpy(at.sun_path, uds, sizeof at.sun_path - 1);
        made = socket(AF_UNIX, SOCK_STREAM, 0);
        if (made < 0 || connect(made, (struct sockaddr *)&at, sizeof at))
            stop(uds);
    } else {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        made = socket(AF_INET, SOCK_STREAM, 0);
        if (made < 0 || connect(made, (struct sockaddr *)&at, sizeof at))
            stop("connect");
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return made;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void read_body(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        stop(path);
    body_bytes = ftell(file);
    rewind(file);
    if (!(body = malloc(body_bytes)) || fread(body, 1, body_bytes, file) != body_bytes)
        stop(path);
    fclose(file);
}

/* paced http|redis UDS PORT RATE SECONDS CONNECTIONS FIRST KEYS BODY TYPE; "" for no socket or body, rate 0 for none. */
int main(int count, char **words)
{
    if (count != 11)
        return 2;
    is_redis = !strcmp(words[1], "redis");
    double rate = atof(words[4]), seconds = atof(words[5]);
    int many = atoi(words[6]), epoll = epoll_create1(0);
    first = strtoul(words[7], NULL, 10);
    keys = strtoul(words[8], NULL, 10);
    if (*words[9])
        read_body(words[9]);
    body_type = words[10];
    if (many < 1 || many > CONNECTIONS_MAX || !keys || epoll < 0)
        return 2;
    for (int i = 0; i < many; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = i};
        connections[i].socket = connect_to(words[2], atoi(words[3]));
        if (!(connections[i].answer = malloc(ANSWER_BYTES + 1)))
            stop("memory");
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].socket, &wanted))
            stop("epoll");
        set_free(i);
    }
    double started = now(), at;
    unsigned long asked = 0;
    struct epoll_event events[CONNECTIONS_MAX];
    while ((at = now()) - started < seconds) {
        while (free_count && (!rate || started + asked / rate <= at)) {
            ask(take_free(), rate ? started + asked / rate : at);
            asked++;
        }
        double wait = started + seconds - at;
        if (rate && free_count && started + asked / rate - at < wait)
            wait = started + asked / rate - at;
        struct timespec most = {.tv_sec = (time_t)wait, .tv_nsec = (wait - (time_t)wait) * 1e9};
        int ready = epoll_pwait2(epoll, events, many, &most, NULL);
        if (ready < 0 && errno != EINTR)
            stop("epoll");
        for (int i = 0; i < ready; i++) {
            struct connection *each = &connections[events[i].data.u32];
            ssize_t got = recv(each->socket, each->answer + each->have, ANSWER_BYTES - each->have, MSG_DONTWAIT);
            if (got <= 0) {
                /* A server that hangs up has not answered, and is not asked here again. */
                failures++;
                each->is_asked = 0;
                epoll_ctl(epoll, EPOLL_CTL_DEL, each->socket, NULL);
                continue;
            }
            each->have += got;
            int is_good = judge(each);
            if (is_good >= 0) {
                answered(each, is_good);
                set_free(events[i].data.u32);
            }
        }
    }
    double ended = now();
    /* What has no answer yet has taken as long as it has, and counts with that. */
    unsigned long unanswered = 0;
    for (int i = 0; i < many; i++)
        if (connections[i].is_asked) {
            unanswered++;
            note(ended - connections[i].due);
        }
    for (; rate && started + asked / rate <= ended; asked++) {
        unanswered++;
        note(ended - (started + asked / rate));
    }
    qsort(latencies, noted, sizeof *latencies, by_size);
    printf("{\"answers\": %zu, \"unanswered\": %lu, \"failures\": %lu, \"per_second\": %.1f, ", answers, unanswered,
           failures, answers / (ended - started));
    printf("\"p50_s\": %.9f, \"p99_s\": %.9f}\n", noted ? latencies[noted / 2] : 0.0,
           noted ? latencies[noted * 99 / 100] : 0.0);
    return 0;
}
