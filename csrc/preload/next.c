/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "preload/next.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct next_functions next_functions;

static void look_up(void *function, const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	/* ISO C has no conversion between pointers to objects and to functions. */
	memcpy(function, &found, sizeof(found));
}

void next_look_up(void)
{
#define NEXT_LOOK_UP(name) look_up(&next_functions.name, #name);
	NEXT_FUNCTIONS(NEXT_LOOK_UP)
#undef NEXT_LOOK_UP
}
