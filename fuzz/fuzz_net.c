/* SPDX-License-Identifier: Apache-2.0 */
/* The tap is one end of a socket pair; the script sends frames of any length from the other, and takes what comes. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "fuzz_dev.h"
#include "virtio/net.h"

static int fake_ioctl(int fd, unsigned long request, unsigned arg)
{
	return 0;
}

static void event(struct fuzz_dev *f, uint8_t what)
{
	static uint8_t frame[NET_FRAME_MAX];
	int *host = f->ctx;

	switch (what & 3) {
	case 0:
	case 1:
		(void)send(*host, frame, (size_t)fuzz_byte(f) << (what >> 2), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 2:
		while (recv(*host, frame, sizeof(frame), MSG_DONTWAIT) > 0)
			;
		break;
	default:
		if (what >> 2 == 7)
			close_fd(host);
	}
	(void)loop_turn(f->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_options opts = {.mtu = 1500, .tap_ioctl = fake_ioctl};
	struct net *net = NULL;
	int sv[2];

	(void)signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return 0;
	opts.tap_fd = sv[0];
	if (net_new(&net, fuzz_loop(), &opts, NULL) == 0)
		fuzz_play(net_dev(net), fuzz_loop(), data, size, event, &sv[1]);
	net_free(net);
	close_fd(&sv[1]);
	return 0;
}
