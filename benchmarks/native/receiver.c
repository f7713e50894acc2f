/* N WebSocket clients in one epoll loop: the same load for the subject and for the baseline.
 *
 *     receiver PORT CONNECTIONS TABLE [EPOCH LSN TAG FINGERPRINT]
 *
 * Each connects to 127.0.0.1, shakes hands for /v1/sync (subprotocol tidewire.v1), says `hello` and
 * `subscribe`, and is ready when `up_to_date` comes. From then on it counts `commit` frames and
 * bytes, and acknowledges the count at every 512 KiB. Payloads are skipped, not parsed. With a
 * cursor all connect at the same moment, and go on from there.
 *
 * stdout: "ready" once all are; then for each line on stdin: "NANOSECONDS COMMITS BYTES LEAST
 * POSITION", where LEAST is the number of commits that the slowest connection has, and POSITION is
 * what all were told to be up to date with.
 */
#include "wire.h"

enum { BUFFER = 1 << 20, ACK_EVERY = 512 << 10, HEAD = 10, PEEK = 48, STASH = HEAD + PEEK };
enum { CONNECTING, SHAKING, OPEN };
/* So many are under way at a time: the queue of a listening socket is short. */
enum { HANDSHAKES = 200 };
static const uint64_t STDIN = UINT64_MAX;
static const char UP_TO_DATE[] = "{\"type\":\"up_to_date\",\"lsn\":\"";

struct client {
    int fd, state, matched; /* bytes of the blank line behind the HTTP head seen so far */
    int is_ready;
    size_t stashed;         /* the begin of a frame that a read has cut */
    unsigned char stash[STASH];
    uint64_t skip, commits, bytes, acked_at, position;
};

static struct client *clients;
static int epoll_fd, ready;
static uint64_t commits, bytes;
static char subscribe[384];

static void acknowledge(struct client *c) {
    char text[64];
    snprintf(text, sizeof text, "{\"type\":\"ack\",\"n\":%llu}", (unsigned long long)c->commits);
    c->acked_at = c->bytes;
    send_frame(c->fd, 1, text);
}

/* X/Y in hexadecimal; what follows is a quotation mark, within what was peeked at. */
static uint64_t read_position(const unsigned char *text) {
    char *low;
    uint64_t high = strtoull((const char *)text, &low, 16);
    return high << 32 | strtoull(low + 1, NULL, 16);
}

static void take_frame(struct client *c, int opcode, const unsigned char *payload, uint64_t size) {
    if (opcode == 9)
        send_frame(c->fd, 10, "");
    if (opcode == 8) {
        fprintf(stderr, "receiver: a server has closed a connection\n");
        exit(1);
    }
    if (opcode != 1 || size < sizeof UP_TO_DATE)
        return;
    if (payload[9] == 'c') { /* {"type":"commit" */
        c->commits++;
        commits++;
    } else if (memcmp(payload, UP_TO_DATE, sizeof UP_TO_DATE - 1) == 0) {
        c->position = read_position(payload + sizeof UP_TO_DATE - 1);
        ready += !c->is_ready;
        c->is_ready = 1;
    }
}

/* Look at the begin of a frame; return how many bytes of it are used up, 0 when more are needed. */
static size_t begin_frame(struct client *c, const unsigned char *data, size_t have) {
    size_t head = 2, peek;
    uint64_t size;
    if (have < 2)
        return 0;
    size = data[1];
    head += size == 126 ? 2 : size == 127 ? 8 : 0;
    if (have < head)
        return 0;
    if (head > 2) {
        size = 0;
        for (size_t i = 2; i < head; i++)
            size = size << 8 | data[i];
    }
    peek = size < PEEK ? (size_t)size : PEEK;
    if (have < head + peek)
        return 0;
    take_frame(c, data[0] & 15, data + head, size);
    c->skip = size - peek;
    return head + peek;
}

static void take_bytes(struct client *c, const unsigned char *data, size_t have) {
    size_t at = 0;
    c->bytes += have;
    bytes += have;
    while (at < have) {
        if (c->skip) {
            size_t step = c->skip < have - at ? (size_t)c->skip : have - at;
            c->skip -= step;
            at += step;
        } else if (c->stashed) {
            c->stash[c->stashed++] = data[at++];
            if (begin_frame(c, c->stash, c->stashed))
                c->stashed = 0;
        } else {
            size_t used = begin_frame(c, data + at, have - at);
            if (!used) {
                c->stashed = have - at;
                memcpy(c->stash, data + at, c->stashed);
                used = c->stashed;
            }
            at += used;
        }
    }
    if (c->bytes - c->acked_at >= ACK_EVERY)
        acknowledge(c);
}

/* Step over the HTTP head of the answer; return how many bytes belong to it. */
static size_t take_head(struct client *c, const unsigned char *data, size_t have) {
    for (size_t at = 0; at < have; at++) {
        c->matched = data[at] == "\r\n\r\n"[c->matched] ? c->matched + 1 : data[at] == '\r';
        if (c->matched == 4) {
            c->state = OPEN;
            send_frame(c->fd, 1, "{\"type\":\"hello\",\"client\":\"bench\"}");
            send_frame(c->fd, 1, subscribe);
            return at + 1;
        }
    }
    return have;
}

static void receive(struct client *c) {
    static unsigned char data[BUFFER];
    ssize_t have = recv(c->fd, data, sizeof data, 0);
    if (have < 0 && errno == EAGAIN)
        return;
    if (have <= 0) {
        fprintf(stderr, "receiver: a connection broke: %s\n", have ? strerror(errno) : "end");
        exit(1);
    }
    size_t at = c->state == SHAKING ? take_head(c, data, (size_t)have) : 0;
    take_bytes(c, data + at, (size_t)have - at);
}

static void finish_connect(struct client *c, uint64_t number) {
    int problem = 0;
    socklen_t length = sizeof problem;
    CHECK(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &length) == 0);
    errno = problem;
    CHECK(problem == 0);
    watch(epoll_fd, c->fd, EPOLLIN, number, EPOLL_CTL_MOD);
    CHECK(send(c->fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL) == sizeof UPGRADE - 1);
    c->state = SHAKING;
}

static void start_connect(struct client *c, uint64_t number, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK((c->fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    set_up_socket(c->fd);
    int status = connect(c->fd, (struct sockaddr *)&address, sizeof address);
    CHECK(status == 0 || errno == EINPROGRESS);
    watch(epoll_fd, c->fd, EPOLLOUT, number, EPOLL_CTL_ADD);
}

static void answer(uint64_t count) {
    uint64_t least = UINT64_MAX, position = UINT64_MAX;
    for (uint64_t i = 0; i < count; i++) {
        least = clients[i].commits < least ? clients[i].commits : least;
        position = clients[i].position < position ? clients[i].position : position;
    }
    printf("%llu %llu %llu %llu %llu\n", (unsigned long long)now_ns(), (unsigned long long)commits,
           (unsigned long long)bytes, (unsigned long long)least, (unsigned long long)position);
    fflush(stdout);
}

static void prepare(const char *table, char **cursor) {
    char from[256] = "";
    if (cursor)
        snprintf(from, sizeof from,
                 ",\"from\":{\"epoch\":\"%s\",\"lsn\":\"%s\",\"tag\":\"%s\"},"
                 "\"fingerprint\":\"%s\"",
                 cursor[0], cursor[1], cursor[2], cursor[3]);
    snprintf(subscribe, sizeof subscribe,
             "{\"type\":\"subscribe\",\"shapes\":"
             "[{\"id\":\"a\",\"table\":\"%s\",\"initial\":false%s}]}",
             table, from);
}

int main(int argc, char **argv) {
    struct epoll_event events[256];
    char line[64];
    int was_ready = 0;
    if (argc != 4 && argc != 8) {
        fprintf(stderr, "receiver PORT CONNECTIONS TABLE [EPOCH LSN TAG FINGERPRINT]\n");
        return 2;
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    uint64_t count = (uint64_t)atoll(argv[2]), opened = 0;
    uint64_t at_once = argc == 8 ? count : HANDSHAKES;
    prepare(argv[3], argc == 8 ? argv + 4 : NULL);
    allow_descriptors();
    CHECK(clients = calloc(count, sizeof *clients));
    CHECK((epoll_fd = epoll_create1(0)) >= 0);
    watch(epoll_fd, STDIN_FILENO, EPOLLIN, STDIN, EPOLL_CTL_ADD);
    for (;;) {
        while (opened < count && opened < (uint64_t)ready + at_once) {
            start_connect(&clients[opened], opened, port);
            opened++;
        }
        int found = epoll_wait(epoll_fd, events, 256, -1);
        CHECK(found >= 0 || errno == EINTR);
        for (int i = 0; i < found; i++) {
            uint64_t number = events[i].data.u64;
            if (number == STDIN) {
                if (!read_line(line, sizeof line))
                    return 0;
                answer(count);
            } else if (clients[number].state == CONNECTING) {
                finish_connect(&clients[number], number);
            } else {
                receive(&clients[number]);
            }
        }
        if (!was_ready && (uint64_t)ready == count) {
            was_ready = 1;
            puts("ready");
            fflush(stdout);
        }
    }
}
