/* SPDX-License-Identifier: BSD-3-Clause */
/* start: runs before the program's main(): attaches the meter, and looks at the descriptors that
 * the program inherits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "preload/descriptors.h"
#include "preload/next.h"
#include "preload/process.h"

#define METER_VARIABLE    "NETLOG_PRELOAD_METER"
#define PORTS_VARIABLE    "NETLOG_PRELOAD_PORTS"
#define EXCLUDED_VARIABLE "NETLOG_PRELOAD_EXCLUDED"

/* Inherited descriptors have low numbers: no program passes more than this. */
#define INHERITED 256

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv(METER_VARIABLE);
	int saved = errno;

	next_look_up();
	if (path && process_begin(path)) {
		descriptors_choose_ports(getenv(PORTS_VARIABLE));
		descriptors_exclude_peers(getenv(EXCLUDED_VARIABLE));
		for (int inherited = 0; inherited < INHERITED; inherited++)
			descriptor_inherit(inherited);
		if (descriptors_have_tun())
			process_note_tun();
	}
	errno = saved;
}
