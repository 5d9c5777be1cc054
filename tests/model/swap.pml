/* The handshake between the writers and the poller of a meter (csrc/meter/meter.c, lane.h, poll.c),
 * for spin.
 *
 * Two writers, each with a lane, count one packet in each of BRACKETS brackets. A poller swaps,
 * looks which lanes are quiet, drains and clears those, POLLS times and then until all is quiet. In
 * the end it must have drained every count once.
 *
 * spin executes stores at once and in order. Processors and compilers do not, so a writer's stores
 * wait in a buffer: the count of each bank, and the bracket. Each may become visible at any time
 * and before the others, but a bracket that was stored with release only after the counts before
 * it. A store to a word that waits replaces it, and its order counts alone: so it is since C20,
 * where a release sequence does not continue with later stores of the same thread.
 *
 * RELY: the lanes rely on the poller's barriers, as lane_count_last() does.
 *
 * A mutation takes one order away, and spin must find the count that is lost or doubled:
 *  OPEN_RELEASE    a bracket is opened with release, without a barrier
 *  NO_BARRIER      the poller does not ask for barriers (RELY)
 *  OPEN_RELAXED    a bracket is opened with relaxed (RELY)
 *  LEAVE_RELAXED   a bracket is closed with relaxed
 *  EPOCH_RELAXED   a writer's counts are loaded before the epoch
 *  LOOK_FIRST      the poller looks at the brackets before it stores the epoch
 *  DRAIN_FIRST     the poller loads the counts before it looks at the brackets
 *  CLEAR_LATE      the poller clears a bank after it has made it live again
 *  DRAIN_BUSY      the poller drains a lane that is not quiet
 */
#ifndef BRACKETS
#define BRACKETS 2
#endif
#ifndef POLLS
#define POLLS 2
#endif
#define LANES 2
#define BANK(lane, number) ((lane) * 2 + (number) % 2)

/* What all threads see. */
byte epoch = 0;
byte bracket[LANES];
byte bank[LANES * 2];

/* The writers' stores that are not visible yet. */
bool has_count[LANES * 2];
byte own_count[LANES * 2];
bool has_bracket[LANES];
bool is_release[LANES];
byte own_bracket[LANES];

byte counted = 0;
byte drained = 0;
byte done = 0;

inline show_count(at)
{
	if
	:: has_count[at] ->
		bank[at] = own_count[at];
		has_count[at] = false;
		own_count[at] = 0
	:: else
	fi
}

inline show_counts(lane)
{
	show_count(BANK(lane, 0));
	show_count(BANK(lane, 1))
}

inline show_bracket(lane)
{
	if
	:: has_bracket[lane] ->
		if
		:: is_release[lane] -> show_counts(lane)
		:: else
		fi;
		bracket[lane] = own_bracket[lane];
		has_bracket[lane] = false;
		is_release[lane] = false;
		own_bracket[lane] = 0
	:: else
	fi
}

/* A barrier in the thread of the lane's owner, or the end of that thread. */
inline show_all(lane)
{
	d_step {
		show_counts(lane);
		show_bracket(lane)
	}
}

inline store_bracket(lane, value, release)
{
	atomic {
		own_bracket[lane] = value;
		has_bracket[lane] = true;
		is_release[lane] = release
	}
}

inline open_bracket(lane, value)
{
#if defined(OPEN_RELAXED)
	store_bracket(lane, value, false)
#elif defined(RELY) || defined(OPEN_RELEASE)
	store_bracket(lane, value, true)
#else
	/* seq_cst: visible before the epoch is loaded */
	atomic {
		show_counts(lane);
		has_bracket[lane] = false;
		is_release[lane] = false;
		own_bracket[lane] = 0;
		bracket[lane] = value
	}
#endif
}

inline close_bracket(lane, value)
{
#ifdef LEAVE_RELAXED
	store_bracket(lane, value, false)
#else
	store_bracket(lane, value, true)
#endif
}

inline load_count(lane, number, count)
{
	if
	:: has_count[BANK(lane, number)] -> count = own_count[BANK(lane, number)]
	:: else -> count = bank[BANK(lane, number)]
	fi
}

proctype writer(byte lane)
{
	byte round, count, other, seen;

	for (round : 0 .. BRACKETS - 1) {
		open_bracket(lane, 2 * round + 1);
#ifdef EPOCH_RELAXED
		d_step {
			load_count(lane, 0, count);
			load_count(lane, 1, other)
		};
		seen = epoch;
		if
		:: seen % 2 -> count = other
		:: else
		fi;
#else
		seen = epoch;
		d_step { load_count(lane, seen, count) };
#endif
		d_step {
			own_count[BANK(lane, seen)] = count + 1;
			has_count[BANK(lane, seen)] = true;
			counted++;
			count = 0;
			other = 0
		};
		close_bracket(lane, 2 * round + 2)
	}
	atomic {
		show_counts(lane);
		show_bracket(lane);
		done++
	}
}

/* Stores become visible in any order that release leaves open. */
active proctype memory()
{
end:
	do
	:: d_step { has_count[0] -> show_count(0) }
	:: d_step { has_count[1] -> show_count(1) }
	:: d_step { has_count[2] -> show_count(2) }
	:: d_step { has_count[3] -> show_count(3) }
	:: d_step { has_bracket[0] -> show_bracket(0) }
	:: d_step { has_bracket[1] -> show_bracket(1) }
	od
}

/* Looks once, and once more if the writer was inside. That it looks only twice makes no difference:
 * any time may pass in between, and the patience may end. */
inline look(lane)
{
	inside = bracket[lane];
	quiet[lane] = inside % 2 == 0;
	if
	:: !quiet[lane] ->
		if
		:: bracket[lane] != inside -> quiet[lane] = true
		:: true
		fi
	:: else
	fi;
	inside = 0
}

inline clear(lane, number)
{
	if
	:: quiet[lane] -> bank[BANK(lane, number)] = 0
	:: else
	fi
}

inline poll()
{
#ifdef LOOK_FIRST
	look(0);
	look(1);
#endif
	epoch++;
#ifdef CLEAR_LATE
	clear(0, epoch);
	clear(1, epoch);
#endif
#if defined(RELY) && !defined(NO_BARRIER)
	show_all(0);
	show_all(1);
#endif
#ifdef DRAIN_FIRST
	count[0] = bank[BANK(0, epoch + 1)];
	count[1] = bank[BANK(1, epoch + 1)];
#endif
#ifndef LOOK_FIRST
	look(0);
	look(1);
#endif
#ifndef DRAIN_FIRST
	count[0] = bank[BANK(0, epoch + 1)];
	count[1] = bank[BANK(1, epoch + 1)];
#endif
	d_step {
#ifdef DRAIN_BUSY
		quiet[0] = true;
		quiet[1] = true;
#endif
		drained = drained + (quiet[0] -> count[0] : 0) + (quiet[1] -> count[1] : 0);
		count[0] = 0;
		count[1] = 0
	};
#ifndef CLEAR_LATE
	clear(0, epoch + 1);
	clear(1, epoch + 1);
#endif
}

active proctype poller()
{
	bool quiet[LANES];
	byte count[LANES];
	byte round, inside;

	for (round : 1 .. POLLS) {
		poll()
	}
	done == LANES;
	/* Both banks, the last of which may have been late. */
	poll();
	poll();
	assert(drained == counted)
}

init
{
	atomic {
		run writer(0);
		run writer(1)
	}
}
