/* One WebSocket client that wants all rows of a table.
 *
 *     copier PORT TABLE
 *
 * It shakes hands for /v1/sync, says `hello` and `subscribe`, counts the rows of `snapshot` frames
 * and acknowledges at every 512 KiB, half a window, until `up_to_date` says that it is live. Rows
 * are arrays of numbers and texts without brackets, so a bracket that opens is a row.
 *
 * stdout: "NANOSECONDS ROWS BYTES CHUNKS", the time from `subscribe` to `live`.
 */
#define _GNU_SOURCE /* memmem */
#include "wire.h"

enum { BUFFER = 1 << 20, ACK_EVERY = 512 << 10 };
static unsigned char buffer[BUFFER];
static int fd, is_live;
static uint64_t begun, rows, bytes, chunks, acked_at;
static char subscribe[256];

static int holds(const unsigned char *payload, size_t size, const char *text) {
    return memmem(payload, size, text, strlen(text)) != NULL;
}

static void take_chunk(const unsigned char *payload, size_t size) {
    uint64_t brackets = 0;
    char text[64];
    for (size_t i = 0; i < size; i++)
        brackets += payload[i] == '[';
    rows += brackets - 1; /* the list of rows has one, too */
    bytes += size;
    chunks++;
    if (bytes - acked_at >= ACK_EVERY) {
        acked_at = bytes;
        snprintf(text, sizeof text, "{\"type\":\"ack\",\"n\":%llu}", (unsigned long long)chunks);
        send_frame(fd, 1, text);
    }
}

static void take_frame(int opcode, const unsigned char *payload, size_t size) {
    size_t begin = size < 40 ? size : 40; /* the type comes first */
    if (opcode == 9)
        send_frame(fd, 10, "");
    if (opcode == 8 || holds(payload, begin, "{\"type\":\"error\"")) {
        fprintf(stderr, "copier: refused: %.*s\n", (int)size, payload);
        exit(1);
    }
    if (holds(payload, begin, "{\"type\":\"snapshot\"")) {
        take_chunk(payload, size);
    } else if (holds(payload, begin, "{\"type\":\"welcome\"")) {
        begun = now_ns();
        send_frame(fd, 1, subscribe);
    } else if (holds(payload, begin, "{\"type\":\"up_to_date\"")) {
        is_live = holds(payload, size, "\"live\":[\"");
    }
}

/* Take the frames that are whole; return how many bytes they are. */
static size_t take_frames(size_t have) {
    size_t at = 0;
    while (have - at >= 2) {
        const unsigned char *frame = buffer + at;
        size_t head = frame[1] < 126 ? 2 : frame[1] == 126 ? 4 : 10;
        uint64_t size = head == 2 ? frame[1] : 0;
        if (have - at < head)
            break;
        for (size_t i = 2; i < head; i++)
            size = size << 8 | frame[i];
        CHECK(head + size <= BUFFER);
        if (have - at < head + size)
            break;
        take_frame(frame[0] & 15, frame + head, (size_t)size);
        at += head + (size_t)size;
    }
    return at;
}

static size_t receive(size_t have) {
    ssize_t more = recv(fd, buffer + have, BUFFER - have, 0);
    if (more <= 0) {
        fprintf(stderr, "copier: the connection broke: %s\n", more ? strerror(errno) : "end");
        exit(1);
    }
    return have + (size_t)more;
}

static size_t keep_rest(size_t used, size_t have) {
    memmove(buffer, buffer + used, have - used);
    return have - used;
}

static void shake_hands(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(send(fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL) == sizeof UPGRADE - 1);
}

int main(int argc, char **argv) {
    size_t have = 0;
    unsigned char *end = NULL;
    if (argc != 3) {
        fprintf(stderr, "copier PORT TABLE\n");
        return 2;
    }
    snprintf(subscribe, sizeof subscribe,
             "{\"type\":\"subscribe\",\"shapes\":[{\"id\":\"a\",\"table\":\"%s\"}]}", argv[2]);
    shake_hands((uint16_t)atoi(argv[1]));
    while (!(end = memmem(buffer, have, "\r\n\r\n", 4)))
        have = receive(have);
    have = keep_rest((size_t)(end + 4 - buffer), have);
    send_frame(fd, 1, "{\"type\":\"hello\",\"client\":\"bench\"}");
    while (!is_live) {
        have = keep_rest(take_frames(have), have);
        if (!is_live)
            have = receive(have);
    }
    printf("%llu %llu %llu %llu\n", (unsigned long long)(now_ns() - begun),
           (unsigned long long)rows, (unsigned long long)bytes, (unsigned long long)chunks);
    return 0;
}
