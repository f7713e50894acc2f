/* The baseline: what a bare epoll server in C pushes, doing nothing else.
 *
 *     sender LENGTH [MISSED]
 *
 * It answers any upgrade with a fixed 101, MISSED events in one send() and `up_to_date`, and throws
 * away what clients say. Its event is a text frame of LENGTH bytes of payload that looks like a
 * `commit`. One event is one send() to each socket; what a full socket does not take is owed to it,
 * in order, and the next event waits while anybody is owed OWED_MAX bytes. It ends with its clients.
 *
 * stdout: the port. stdin: "go N" begins to send N frames in each send(), "stop" ends it; each is
 * answered with "EVENTS", the number of frames sent to every socket so far, on "stop" when all is
 * out.
 */
#include "wire.h"

enum { CLIENTS = 20000, COALESCED = 1024, OWED_MAX = 256 << 10 };
static const uint64_t STDIN = UINT64_MAX, LISTENER = UINT64_MAX - 1;

struct client {
    int fd, matched, is_open;
    uint64_t owed; /* bytes of the endless sequence of equal frames that still have to go out */
};

static const char HEAD[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    "Sec-WebSocket-Protocol: tidewire.v1\r\n\r\n";
static const char READY[] = "{\"type\":\"up_to_date\",\"lsn\":\"0/1\",\"tag\":\"\"}";

static struct client clients[CLIENTS];
static int epoll_fd, listener, opened, in_debt;
static size_t frame_size, batch, missed;
static unsigned char *frames; /* COALESCED + 1 of them, so that any phase has a whole batch */
static uint64_t events_sent;

static size_t make_frame(unsigned char *frame, const char *payload, size_t length) {
    size_t at = 0;
    frame[at++] = 0x81;
    if (length < 126) {
        frame[at++] = (unsigned char)length;
    } else {
        frame[at++] = 126;
        frame[at++] = (unsigned char)(length >> 8);
        frame[at++] = (unsigned char)length;
    }
    memcpy(frame + at, payload, length);
    return at + length;
}

static void make_events(size_t length) {
    static const char begin[] = "{\"type\":\"commit\",\"x\":\"";
    char *payload = malloc(length);
    CHECK(payload && length >= sizeof begin + 2);
    memset(payload, 'x', length);
    memcpy(payload, begin, sizeof begin - 1);
    memcpy(payload + length - 2, "\"}", 2);
    CHECK(frames = malloc((length + 4) * (COALESCED + 1)));
    frame_size = make_frame(frames, payload, length);
    for (int i = 1; i <= COALESCED; i++)
        memcpy(frames + (size_t)i * frame_size, frames, frame_size);
    free(payload);
}

/* Send what is owed to one socket, as much at once as the buffer of equal frames holds. */
static void pay(struct client *c, uint64_t number) {
    while (c->owed) {
        size_t phase = (frame_size - c->owed % frame_size) % frame_size;
        size_t most = COALESCED * frame_size;
        size_t size = c->owed < most ? (size_t)c->owed : most;
        ssize_t sent = send(c->fd, frames + phase, size, MSG_NOSIGNAL);
        CHECK(sent >= 0 || errno == EAGAIN);
        if (sent < 0)
            return;
        c->owed -= (uint64_t)sent;
    }
    in_debt--;
    watch(epoll_fd, c->fd, EPOLLIN, number, EPOLL_CTL_MOD);
}

static void publish(void) {
    size_t size = batch * frame_size;
    for (int i = 0; i < opened; i++) {
        struct client *c = &clients[i];
        if (c->owed) {
            c->owed += size;
            continue;
        }
        ssize_t sent = send(c->fd, frames, size, MSG_NOSIGNAL);
        CHECK(sent >= 0 || errno == EAGAIN);
        if (sent == (ssize_t)size)
            continue;
        c->owed = size - (size_t)(sent < 0 ? 0 : sent);
        in_debt++;
        watch(epoll_fd, c->fd, EPOLLIN | EPOLLOUT, (uint64_t)i, EPOLL_CTL_MOD);
    }
    events_sent += batch;
}

static int may_publish(void) {
    if (in_debt)
        for (int i = 0; i < opened; i++)
            if (clients[i].owed >= OWED_MAX)
                return 0;
    return 1;
}

static void hear(struct client *c) {
    static char data[1 << 16];
    unsigned char frame[128];
    ssize_t have = recv(c->fd, data, sizeof data, 0);
    if (have < 0 && errno == EAGAIN)
        return;
    if (have <= 0)
        exit(0); /* the receiver has ended, and so does the benchmark */
    for (ssize_t at = 0; at < have && !c->is_open; at++) {
        c->matched = data[at] == "\r\n\r\n"[c->matched] ? c->matched + 1 : data[at] == '\r';
        if (c->matched == 4) {
            c->is_open = 1;
            size_t size = make_frame(frame, READY, sizeof READY - 1);
            CHECK(send(c->fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) == sizeof HEAD - 1);
            CHECK(send(c->fd, frames, missed * frame_size, MSG_NOSIGNAL) ==
                  (ssize_t)(missed * frame_size));
            CHECK(send(c->fd, frame, size, MSG_NOSIGNAL) == (ssize_t)size);
        }
    }
}

static void let_in(void) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    CHECK(opened < CLIENTS);
    set_up_socket(fd);
    clients[opened].fd = fd;
    watch(epoll_fd, fd, EPOLLIN, (uint64_t)opened, EPOLL_CTL_ADD);
    opened++;
}

static void listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 2048) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    watch(epoll_fd, listener, EPOLLIN, LISTENER, EPOLL_CTL_ADD);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void answer(void) {
    printf("%llu\n", (unsigned long long)events_sent);
    fflush(stdout);
}

static void turn(int timeout_ms, int *is_going, int *is_stopping) {
    struct epoll_event events[256];
    char line[64];
    int found = epoll_wait(epoll_fd, events, 256, timeout_ms);
    CHECK(found >= 0 || errno == EINTR);
    for (int i = 0; i < found; i++) {
        uint64_t number = events[i].data.u64;
        if (number == STDIN) {
            if (!read_line(line, sizeof line))
                exit(0);
            *is_going = sscanf(line, "go %zu", &batch) == 1;
            *is_stopping = !*is_going;
            CHECK(batch >= 1 && batch <= COALESCED);
            if (*is_going)
                answer();
        } else if (number == LISTENER) {
            let_in();
        } else {
            if (events[i].events & EPOLLIN)
                hear(&clients[number]);
            if (events[i].events & EPOLLOUT && clients[number].owed)
                pay(&clients[number], number);
        }
    }
}

int main(int argc, char **argv) {
    int is_going = 0, is_stopping = 0;
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "sender LENGTH [MISSED]\n");
        return 2;
    }
    missed = argc == 3 ? (size_t)atoll(argv[2]) : 0;
    CHECK(missed <= COALESCED);
    make_events((size_t)atoll(argv[1]));
    allow_descriptors();
    CHECK((epoll_fd = epoll_create1(0)) >= 0);
    watch(epoll_fd, STDIN_FILENO, EPOLLIN, STDIN, EPOLL_CTL_ADD);
    listen_on_loopback();
    for (;;) {
        int may = is_going && may_publish();
        if (may)
            publish();
        turn(may ? 0 : -1, &is_going, &is_stopping);
        if (is_stopping && !in_debt) {
            is_stopping = 0;
            answer();
        }
    }
}
