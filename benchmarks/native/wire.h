/* What these programs share: the clock, sockets, a client's frames, and dying with a reason. */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,          \
                    strerror(errno));                                                   \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void set_up_socket(int fd) {
    int one = 1;
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
}

static inline void allow_descriptors(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static inline void watch(int epoll, int fd, uint32_t events, uint64_t number, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = number};
    CHECK(epoll_ctl(epoll, operation, fd, &event) == 0);
}

static const char UPGRADE[] __attribute__((unused)) =
    "GET /v1/sync HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: tidewire.v1\r\n\r\n";

/* Frames of clients are masked (RFC 6455, 5.3); a mask of zeros leaves the payload as it is. */
static inline void send_frame(int fd, int opcode, const char *payload) {
    unsigned char frame[512];
    size_t length = strlen(payload), at = 0;
    CHECK(length + 8 <= sizeof frame);
    frame[at++] = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        frame[at++] = (unsigned char)(0x80 | length);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (unsigned char)(length >> 8);
        frame[at++] = (unsigned char)length;
    }
    memset(frame + at, 0, 4);
    at += 4;
    memcpy(frame + at, payload, length);
    at += length;
    CHECK(send(fd, frame, at, MSG_NOSIGNAL) == (ssize_t)at);
}

/* Read one line of the driver; 0 when it has closed our stdin. */
static inline int read_line(char *line, size_t size) {
    ssize_t length = read(STDIN_FILENO, line, size - 1);
    CHECK(length >= 0);
    line[length] = 0;
    return length > 0;
}

#endif
