// SPDX-License-Identifier: BSD-3-Clause

// Command today counts the packets of the benches with Tailscale's present table:
// tailscale.com/wgengine/netlog, of the newest version that Go 1.26 builds.
//
// Its logger starts a new map whenever the message of the old one might exceed 256 KiB, which is
// about every thousand connections. Nothing reads the records here, as nothing drains the seed's
// table: only counting is measured. The method is linked by its symbol, because starting the logger
// would start its upload.
package main

import (
	"net/netip"
	_ "unsafe" // go:linkname

	"goring"

	"tailscale.com/net/packet"
	"tailscale.com/types/ipproto"
	"tailscale.com/wgengine/netlog"
)

//go:linkname update tailscale.com/wgengine/netlog.(*Logger).updateVirtConn
func update(
	logger *netlog.Logger, proto ipproto.Proto, src, dst netip.AddrPort, packets, bytes int, recv bool,
)

func main() {
	var logger netlog.Logger
	var parsed packet.Parsed
	goring.Drive(func(b []byte) {
		parsed.Decode(b)
		update(&logger, parsed.IPProto, parsed.Src, parsed.Dst, 1, len(b), false)
	}, func() { logger = netlog.Logger{} })
}
