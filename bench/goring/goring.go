// SPDX-License-Identifier: BSD-3-Clause

// Package goring makes the packets of the benches in Go, and makes a table count them.
package goring

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	slotBytes = 64
	step      = 0x9e3779b97f4a7c15
)

// The twins of mix, uniform and fill are in ../ring.c.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func uniform(connections []uint32, limit, seed uint64) {
	for i := range connections {
		random := mix(seed+uint64(i+1)*step) >> 32
		connections[i] = uint32(random * limit >> 32)
	}
}

func protocol(random uint64) byte {
	if random&1 == 1 {
		return 17
	}
	return 6
}

func fill4(slot []byte, connection uint32) {
	random := mix(uint64(connection+1) * step)
	slot[0] = 0x45
	binary.BigEndian.PutUint16(slot[2:], slotBytes)
	binary.BigEndian.PutUint16(slot[6:], 0x4000)
	slot[8] = 64
	slot[9] = protocol(random)
	binary.BigEndian.PutUint32(slot[12:], 0x64400000|connection*2654435761&0x3fffff)
	binary.BigEndian.PutUint32(slot[16:], uint32(random>>32))
	binary.BigEndian.PutUint16(slot[20:], uint16(random>>16))
	binary.BigEndian.PutUint16(slot[22:], 443)
}

func fill6(slot []byte, connection uint32) {
	random := mix(uint64(connection+1) * step)
	slot[0] = 0x60
	binary.BigEndian.PutUint16(slot[4:], slotBytes-40)
	slot[6] = protocol(random)
	slot[7] = 64
	binary.BigEndian.PutUint64(slot[8:], 0xfd7a115ca1e0ab12)
	binary.BigEndian.PutUint64(slot[16:], uint64(connection)<<32|random>>32)
	binary.BigEndian.PutUint64(slot[24:], 0x20010db800000000|random>>40)
	binary.BigEndian.PutUint64(slot[32:], mix(random))
	binary.BigEndian.PutUint16(slot[40:], uint16(random>>16))
	binary.BigEndian.PutUint16(slot[42:], 443)
}

func fill(ring []byte, version int, connections []uint32) {
	clear(ring)
	for i, connection := range connections {
		slot := ring[i*slotBytes : (i+1)*slotBytes]
		if version == 4 {
			fill4(slot, connection)
		} else {
			fill6(slot, connection)
		}
		binary.LittleEndian.PutUint32(slot[slotBytes-4:], connection)
	}
}

func checksum(ring []byte) uint64 {
	sum := uint64(0xcbf29ce484222325)
	for _, b := range ring {
		sum = (sum ^ uint64(b)) * 0x100000001b3
	}
	return sum
}

// count hands a ring to the table, packet by packet, and returns the CPU time of the process. That
// includes the garbage collector's time, which is part of the price of a Go map.
func count(update func(packet []byte), ring []byte, passes int) time.Duration {
	start := cpu()
	for pass := 0; pass < passes; pass++ {
		for i := 0; i < len(ring); i += slotBytes {
			update(ring[i : i+slotBytes])
		}
	}
	return cpu() - start
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func arguments() (version, connections, slots, passes int) {
	if len(os.Args) != 5 {
		log.Fatal("usage: " + os.Args[0] + " VERSION CONNECTIONS SLOTS PASSES")
	}
	for i, value := range []*int{&version, &connections, &slots, &passes} {
		var err error
		if *value, err = strconv.Atoi(os.Args[i+1]); err != nil {
			log.Fatal(err)
		}
	}
	return version, connections, slots, passes
}

// countNew fills the ring with connections that no other round has, and counts each of them once. A
// period has as many packets as there are connections. The table is emptied before each period, and
// that is not timed.
func countNew(
	update func(packet []byte), empty func(), ring []byte, numbers []uint32, first uint64,
	version, connections int,
) time.Duration {
	for i := range numbers {
		numbers[i] = uint32(first) + uint32(i)
	}
	fill(ring, version, numbers)
	var elapsed time.Duration
	for i := 0; i < len(ring); i += connections * slotBytes {
		empty()
		elapsed += count(update, ring[i:i+connections*slotBytes], 1)
	}
	return elapsed
}

// Drive makes a table count round by round, so that a bench can alternate it with what it measures:
//
//	PROGRAM VERSION CONNECTIONS SLOTS PASSES
//
// counts every connection once and prints {"connections": n}. Then, for each line "SEED" on
// standard input, it makes a ring of that seed, counts it PASSES times, and prints
// {"checksum": "hex", "ns": n, "packets": n}. For a line "new FIRST" it does the same with a ring
// of connections from number FIRST on, one packet each. The ring is counted in periods of
// CONNECTIONS packets, with the table emptied before each. SLOTS must then be a multiple of
// CONNECTIONS.
func Drive(update func(packet []byte), empty func()) {
	version, connections, slots, passes := arguments()
	ring := make([]byte, slots*slotBytes)
	numbers := make([]uint32, slots)
	for first := 0; first < connections; first += slots {
		n := min(slots, connections-first)
		for i := 0; i < n; i++ {
			numbers[i] = uint32(first + i)
		}
		fill(ring[:n*slotBytes], version, numbers[:n])
		count(update, ring[:n*slotBytes], 1)
	}
	answer := json.NewEncoder(os.Stdout)
	answer.Encode(map[string]any{"connections": connections})

	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		text, allNew := strings.CutPrefix(lines.Text(), "new ")
		number, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		var elapsed time.Duration
		if allNew {
			elapsed = countNew(update, empty, ring, numbers, number, version, connections)
		} else {
			uniform(numbers, uint64(connections), number)
			fill(ring, version, numbers)
			elapsed = count(update, ring, passes)
		}
		answer.Encode(map[string]any{
			"checksum": fmt.Sprintf("%016x", checksum(ring)),
			"ns":       elapsed.Nanoseconds(),
			"packets":  slots * passes,
		})
	}
}
