/* SPDX-License-Identifier: BSD-3-Clause */
/* payload: what a link header says that follows it -> the IP packet. Of frame.c and links.c alone.
 *
 * Each function gets the frame as it was captured and where in it to go on. It moves the frame to
 * the IP packet, or leaves it and says in its return value why there is none.
 */
#ifndef NETLOG_PAYLOAD_H
#define NETLOG_PAYLOAD_H

#include "packet/frame.h"

/* Whether `bytes` were captured at `at`, which may lie beyond what was. */
NETLOG_INLINE bool frame_has(const struct netlog_frame *frame, uint32_t at, uint32_t bytes)
{
	return at <= frame->captured && frame->captured - at >= bytes;
}

NETLOG_INLINE enum netlog_frame_fate frame_not_ip(struct netlog_frame *frame,
						  enum netlog_frame_space space, uint32_t number)
{
	frame->space = (uint16_t)space;
	frame->number = (uint16_t)number;
	return NETLOG_FRAME_NOT_IP;
}

NETLOG_INLINE enum netlog_frame_fate frame_unknown_link(struct netlog_frame *frame, uint16_t link)
{
	frame->space = NETLOG_SPACE_LINK;
	frame->number = link;
	return NETLOG_FRAME_LINK;
}

/* An IP packet. */
enum netlog_frame_fate netlog_payload_ip(struct netlog_frame *frame, uint32_t at);
/* What an ethertype names, or IEEE 802.2 if it is a length. */
enum netlog_frame_fate netlog_payload_ethertype(struct netlog_frame *frame, uint32_t at,
						uint32_t type);
/* IEEE 802.2, mostly with SNAP. */
enum netlog_frame_fate netlog_payload_llc(struct netlog_frame *frame, uint32_t at);
/* PPP from its protocol on. */
enum netlog_frame_fate netlog_payload_ppp(struct netlog_frame *frame, uint32_t at);

/* A link whose header tells of the packet more than what it is. */
enum netlog_frame_fate netlog_link_pktap(uint16_t link, struct netlog_frame *frame);
enum netlog_frame_fate netlog_link_nflog(struct netlog_frame *frame);
enum netlog_frame_fate netlog_link_80211(struct netlog_frame *frame, uint32_t at, bool padded);
enum netlog_frame_fate netlog_link_radiotap(struct netlog_frame *frame);
enum netlog_frame_fate netlog_link_tailscale(struct netlog_frame *frame);

#endif
