/* What the relay is held against: the shortest loop that does the same work without any of the thought. Each ICMPv4 error
   that an interface receives goes out again, as one broadcast frame or as one datagram to each member. No checks, no limits,
   no counters, no keys. Compiled by the bench.

     pmtud-loop INTERFACE                         one broadcast frame
     pmtud-loop INTERFACE PORT ADDRESS...         one datagram to each address */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS = 2048, MEMBERS = 8 };

static void check(int answer, const char *what) {
    if (answer < 0) { perror(what); exit(1); }
}

int main(int count, char **words) {
    static unsigned char octets[BATCH][OCTETS];
    static struct mmsghdr in[BATCH], out[MEMBERS][BATCH];
    static struct iovec to_read[BATCH], to_write[BATCH];
    struct sockaddr_in members[MEMBERS];
    int udp = -1, others = count > 3 ? count - 3 : 0;
    if (count < 2 || others > MEMBERS) return 2;

    int raw = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
    check(raw, "socket");
    struct sockaddr_ll link = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex(words[1])};
    check(bind(raw, (struct sockaddr *)&link, sizeof link), "bind");
    int one = 1, room = 8 << 20;
    check(setsockopt(raw, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one), "PACKET_IGNORE_OUTGOING");
    check(setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room), "SO_RCVBUFFORCE");
    struct ifreq own = {0};
    strncpy(own.ifr_name, words[1], IFNAMSIZ - 1);
    check(ioctl(raw, SIOCGIFHWADDR, &own), "SIOCGIFHWADDR");
    if (others) {
        udp = socket(AF_INET, SOCK_DGRAM, 0);
        check(udp, "socket");
        check(setsockopt(udp, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room), "SO_SNDBUFFORCE");
        for (int m = 0; m < others; m++) {
            members[m] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
            if (inet_pton(AF_INET, words[3 + m], &members[m].sin_addr) != 1) return 2;
        }
    }
    for (int i = 0; i < BATCH; i++) {
        to_read[i] = (struct iovec){octets[i], OCTETS};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &to_read[i], .msg_iovlen = 1};
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int received = recvmmsg(raw, in, BATCH, MSG_WAITFORONE, NULL), kept = 0;
        for (int i = 0; i < received; i++) {
            unsigned char *frame = octets[i];
            if (in[i].msg_len < 42 || frame[23] != 1 || frame[34] != 3 || frame[35] != 4) continue;
            to_write[kept] = (struct iovec){frame, in[i].msg_len};
            if (others) {
                to_write[kept].iov_base = frame + 14;
                to_write[kept].iov_len -= 14;
            } else {
                memset(frame, 0xff, 6);
                memcpy(frame + 6, own.ifr_hwaddr.sa_data, 6);
            }
            for (int m = 0; m < (others ? others : 1); m++)
                out[m][kept].msg_hdr = (struct msghdr){
                    .msg_name = others ? &members[m] : NULL, .msg_namelen = others ? sizeof members[m] : 0,
                    .msg_iov = &to_write[kept], .msg_iovlen = 1};
            kept++;
        }
        for (int m = 0; m < (others ? others : 1); m++)
            for (int done = 0; done < kept;) {
                int sent = sendmmsg(others ? udp : raw, out[m] + done, kept - done, 0);
                done += sent > 0 ? sent : 1;
            }
    }
}
