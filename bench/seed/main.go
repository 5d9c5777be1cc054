// SPDX-License-Identifier: BSD-3-Clause

// Command seed counts the packets of the benches with the table of the system that netlog follows:
// tailscale.com/net/connstats of v1.34, a Go map under a mutex.
package main

import (
	"goring"

	"tailscale.com/net/connstats"
)

func main() {
	var statistics connstats.Statistics
	goring.Drive(statistics.UpdateTxVirtual, func() { statistics.Extract() })
}
