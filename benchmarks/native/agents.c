/* N test agents in one epoll loop: the load for a coordinator, of either protocol.
 *
 *     agents PORT COUNT v2|old
 *
 * Each connects to 127.0.0.1 (at most 100 are under way at a time), shakes hands and greets. stdout:
 * "ready" once all were answered. Then lines on stdin, each answered by one line of nanoseconds:
 *
 *     chain BARRIERS   all pass so many barriers, each going on the moment it is released; the time
 *     spread           all meet once; the time from the first agent that hears of it to the last
 *
 * Frames are masked with a key that is not zero, as those of real clients are.
 */
#define _GNU_SOURCE /* memmem */
#include "wire.h"

enum { BUFFER = 1 << 16, STASH = 1024, HANDSHAKES = 100 };
enum { CONNECTING, SHAKING, GREETING, READY };
static const uint64_t STDIN = UINT64_MAX;
static const unsigned char KEY[4] = {0x12, 0x34, 0x56, 0x78};

struct kind {
    const char *name, *path, *greeting, *wait, *released;
};
static const struct kind KINDS[] = {
    {"v2", "/v2/connect", "{\"do\":\"join\",\"run\":\"r\",\"agent\":\"a%llu\"}",
     "{\"do\":\"wait\",\"barrier\":\"b%llu\",\"target\":%llu}", "\"start_at_ms\""},
    {"old", "/register/1", "{\"command\":\"get_connection_count\"}",
     "{\"command\":\"wait_checkpoint\",\"content\":"
     "{\"identifier\":\"b%llu\",\"target_count\":%llu}}",
     "\"finished\":true"},
};

struct agent {
    int fd, state;
    size_t stashed; /* of a frame, or of the HTTP head, that a read has cut */
    unsigned char stash[STASH];
    uint64_t passed;
};

static const struct kind *kind;
static struct agent *agents;
static int epoll_fd;
static uint64_t count, ready, done, barriers, first_barrier, began, first_heard;

static void say(struct agent *a, const char *text) {
    unsigned char data[512];
    size_t length = strlen(text), at = 0;
    CHECK(length + 8 <= sizeof data);
    data[at++] = 0x81;
    if (length < 126) {
        data[at++] = (unsigned char)(0x80 | length);
    } else {
        data[at++] = 0x80 | 126;
        data[at++] = (unsigned char)(length >> 8);
        data[at++] = (unsigned char)length;
    }
    memcpy(data + at, KEY, 4);
    at += 4;
    for (size_t i = 0; i < length; i++)
        data[at++] = (unsigned char)text[i] ^ KEY[i % 4];
    CHECK(send(a->fd, data, at, MSG_NOSIGNAL) == (ssize_t)at);
}

static void wait_at(struct agent *a, uint64_t barrier) {
    char text[256];
    snprintf(text, sizeof text, kind->wait, (unsigned long long)barrier,
             (unsigned long long)count);
    say(a, text);
}

static void tell(uint64_t nanoseconds) {
    printf("%llu\n", (unsigned long long)nanoseconds);
    fflush(stdout);
}

static void pass(struct agent *a) {
    uint64_t now = barriers == 1 ? now_ns() : 0;
    if (now && !done)
        first_heard = now;
    if (++a->passed < barriers) {
        wait_at(a, first_barrier + a->passed);
    } else if (++done == count) {
        tell(barriers == 1 ? now - first_heard : now_ns() - began);
        first_barrier += barriers;
    }
}

static void take_frame(struct agent *a, int opcode, const unsigned char *payload, size_t size) {
    if (opcode == 9)
        send_frame(a->fd, 10, "");
    if (opcode == 8) {
        fprintf(stderr, "agents: the coordinator has closed a connection\n");
        exit(1);
    }
    if (opcode != 1)
        return;
    if (a->state == GREETING) {
        a->state = READY;
        ready++;
    } else if (memmem(payload, size, kind->released, strlen(kind->released))) {
        pass(a);
    } else {
        fprintf(stderr, "agents: not a release: %.*s\n", (int)size, (const char *)payload);
        exit(1);
    }
}

/* Take one frame, or the HTTP head; return how many bytes it had, 0 when more are needed. */
static size_t take(struct agent *a, const unsigned char *data, size_t have) {
    char text[256];
    size_t head = 2, size;
    if (a->state == SHAKING) {
        const unsigned char *end = memmem(data, have, "\r\n\r\n", 4);
        if (!end)
            return 0;
        if (have < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "agents: refused: %.*s\n", (int)have, (const char *)data);
            exit(1);
        }
        a->state = GREETING;
        snprintf(text, sizeof text, kind->greeting, (unsigned long long)(a - agents));
        say(a, text);
        return (size_t)(end - data) + 4;
    }
    if (have < 2)
        return 0;
    size = data[1];
    if (size == 126) {
        head = 4;
        if (have < head)
            return 0;
        size = (size_t)data[2] << 8 | data[3];
    }
    if (have < head + size)
        return 0;
    take_frame(a, data[0] & 15, data + head, size);
    return head + size;
}

static void receive(struct agent *a) {
    static unsigned char data[STASH + BUFFER];
    size_t at = 0, used, have = a->stashed;
    memcpy(data, a->stash, have);
    ssize_t got = recv(a->fd, data + have, BUFFER, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        fprintf(stderr, "agents: a connection broke: %s\n", got ? strerror(errno) : "end");
        exit(1);
    }
    have += (size_t)got;
    while (at < have && (used = take(a, data + at, have - at)))
        at += used;
    a->stashed = have - at;
    CHECK(a->stashed <= STASH);
    memcpy(a->stash, data + at, a->stashed);
}

static void shake_hands(struct agent *a, uint64_t number) {
    char request[512];
    int problem = 0;
    socklen_t length = sizeof problem;
    CHECK(getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &problem, &length) == 0);
    errno = problem;
    CHECK(problem == 0);
    watch(epoll_fd, a->fd, EPOLLIN, number, EPOLL_CTL_MOD);
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        kind->path);
    CHECK(send(a->fd, request, (size_t)size, MSG_NOSIGNAL) == size);
    a->state = SHAKING;
}

static void start_connect(struct agent *a, uint64_t number, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK((a->fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    set_up_socket(a->fd);
    int status = connect(a->fd, (struct sockaddr *)&address, sizeof address);
    CHECK(status == 0 || errno == EINPROGRESS);
    watch(epoll_fd, a->fd, EPOLLOUT, number, EPOLL_CTL_ADD);
}

static void obey(const char *line) {
    barriers = strncmp(line, "chain ", 6) == 0 ? (uint64_t)atoll(line + 6) : 1;
    done = 0;
    began = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        agents[i].passed = 0;
        wait_at(&agents[i], first_barrier);
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[256];
    char line[64];
    int was_ready = 0;
    for (size_t i = 0; argc == 4 && i < sizeof KINDS / sizeof *KINDS; i++)
        if (strcmp(argv[3], KINDS[i].name) == 0)
            kind = &KINDS[i];
    if (!kind) {
        fprintf(stderr, "agents PORT COUNT v2|old\n");
        return 2;
    }
    uint64_t opened = 0;
    uint16_t port = (uint16_t)atoi(argv[1]);
    count = (uint64_t)atoll(argv[2]);
    allow_descriptors();
    CHECK(agents = calloc(count, sizeof *agents));
    CHECK((epoll_fd = epoll_create1(0)) >= 0);
    watch(epoll_fd, STDIN_FILENO, EPOLLIN, STDIN, EPOLL_CTL_ADD);
    for (;;) {
        while (opened < count && opened < ready + HANDSHAKES) {
            start_connect(&agents[opened], opened, port);
            opened++;
        }
        int found = epoll_wait(epoll_fd, events, 256, -1);
        CHECK(found >= 0 || errno == EINTR);
        for (int i = 0; i < found; i++) {
            uint64_t number = events[i].data.u64;
            if (number == STDIN) {
                if (!read_line(line, sizeof line))
                    return 0;
                obey(line);
            } else if (agents[number].state == CONNECTING) {
                shake_hands(&agents[number], number);
            } else {
                receive(&agents[number]);
            }
        }
        if (!was_ready && ready == count) {
            was_ready = 1;
            puts("ready");
            fflush(stdout);
        }
    }
}
