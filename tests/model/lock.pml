/* SPDX-License-Identifier: MIT
 *
 * The lock protocol (src/libshmd/lock.c, the daemon's burial of a client) as a model for spin(1). Every label
 * in capitals is a step of the protocol and has the same name in the C code: hold them side by side. One
 * atomic operation on memory shared between processes is one step of the model; a load and the
 * compare-and-swap that follows are two. tests/model/check.sh runs it.
 *
 * What may happen at every step: a client is killed (its threads die one after another), the daemon is killed
 * and begins anew, a client is stopped for ever. A process that is stopped for a while is one that is not
 * scheduled, which every search contains. Time-outs wake nobody unless STOPS is set: what sleeps must be woken.
 *
 * What must hold, always: VALUE + permits that are out == PERMITS, so that there are never more holders than
 * permits; the daemon gives back what the dead held, never a permit of a living; a library client that takes
 * is told of a death exactly when one is untold. And at rest, when nothing but sleepers is left: see rest().
 */

/* --- What is searched: set by -D ------------------------------------------------------------------------- */
#ifndef PERMITS
#define PERMITS 1
#endif
#ifndef CLIENTS
#define CLIENTS 2 /* library clients, numbered from 1 */
#endif
#ifndef THREADS
#define THREADS 1 /* threads of client 1; the others have one */
#endif
#ifndef RAW
#define RAW 0 /* programs that use sem_open(3), by glibc's algorithm */
#endif
#ifndef ROUNDS
#define ROUNDS 2 /* how often a thread acquires and releases, at most */
#endif
#ifndef RAW_ROUNDS
#define RAW_ROUNDS 1
#endif
#ifndef HOLDING
#define HOLDING 0 /* threads that begin with a permit (PERMITS == 1: thread 0 of client 1 alone) */
#endif
#ifndef DEATHS
#define DEATHS 1 /* library clients that are killed, at most */
#endif
#ifndef RAW_DEATHS
#define RAW_DEATHS 1
#endif
#ifndef KILLS
#define KILLS 1 /* of the daemon */
#endif
#ifndef REBIRTHS
#define REBIRTHS 1 /* new clients that are given the number of a buried one */
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 1 /* sleeps that end without a wake-up: a signal, a deadline, the end of a slice */
#endif
#ifndef KEEPS
#define KEEPS (PERMITS > 1) /* threads that keep their permit for good */
#endif
#ifndef STOPS
#define STOPS 0 /* clients that are stopped and never continue */
#endif
#ifndef SETTLE
#define SETTLE (RAW > 0) /* the daemon looks for permits of dead raw holders, at start and after each close */
#endif

/* --- Variants that are wrong and must be found so ---------------------------------------------------------- */
#define NONE 0
#define SLEEP_LOW 1        /* a sleeper compares the low half only */
#define SLEEP_HIGH_FIRST 2 /* futex_waitv gets the high half first, the low half second */
#define CLEAR_EXACT 3      /* the releaser whose wake-up found nobody clears F, if the word is what it left */
#define CLEAR_NO_W 4       /* the same, and only while W is 0 */
#define STALE_NO_WAKE 5    /* who clears F by the hint does not wake all */
#define RELEASE_NO_WAKE 6  /* a release wakes nobody */
#define BUSY_GIVES_UP 7    /* a deadline ends ACQUIRE_BUSY, and the wake-up it was given is lost */
#define OWNER_LATE 8       /* permits == 1: the owner's number is written after the permit is taken */
#define NO_PRIVATE_LOCK 9  /* permits > 1: threads of one client are not kept apart */
#define NO_PARITY 10       /* BURY_FINISH does not ask whether the slot was written already */
#define NO_MARK 11         /* the slot is not marked ALL, so that BURY_GIVE is finished as one release */
#define BURY_ANY_OWNER 12  /* BURY_GIVE takes the word from the owner who is in the middle */
#define BURY_LIVING 13     /* a closed socket is taken for a death */
#define BURY_NO_WAKE 14    /* a burial wakes nobody */
#define NUMBER_EARLY 15    /* a dead client's number is given to another before it is buried */
#define DIED_LATE 16       /* DIED is set after the permit is given back, by an operation of its own */
#define RAW_ONE_SCAN 17    /* the slots are read once */
#define RAW_NO_LEASE 18    /* the lease is not taken: a newcomer may open the semaphore meanwhile */
#define RAW_NO_WAKE 19     /* a raw client's end wakes nobody */
#ifndef BROKEN
#define BROKEN NONE
#endif

/* --- The word, with narrower fields ------------------------------------------------------------------------ */
#define VALUE(x) ((x) & 3)
#define WAITERS(x) (((x) >> 2) & 3)
#define OWNER(x) (((x) >> 4) & 7)
#define HIGH(x) ((x) >> 2) /* the high half: all but VALUE */
#define ONE_WAITER 4
#define OWN(n) ((n) << 4)
#define DIED 128
#define PAR 256
#define GIVE 512
#define F 1024
#define OPERATION (OWN(7) | PAR | GIVE)

short word = PERMITS;

/* A slot. COUNT wraps at 8 instead of 2^32. Its parity is not touched by that, and two scans look equal more
 * often than they would: a permit that is safe here is safe there. */
#define HELD(s) ((s) & 3)
#define ALL 4
#define COUNT(s) ((s) >> 3)
#define SLOT(held, count) ((held) | (((count) & 7) << 3))
#define PARITY(s) (COUNT(s) & 1)
#define PAR_OF(s) ((PARITY(s)) << 8)

byte slot[CLIENTS + 1];

/* --- The kernel ---------------------------------------------------------------------------------------------- */
#define LIBRARY_THREADS (CLIENTS + THREADS - 1)
#define BIT(t) (1 << (t))

byte queued;           /* a bit for each thread in the futex's queue on the low half */
byte open;             /* raw descriptions of the semaphore's file */
bool lease;            /* held by the daemon's description, which outlives the daemon: opening waits */
bool closed = SETTLE;  /* IN_CLOSE_WRITE has been seen */

inline wake_all() { queued = 0 }

/* Who of several is woken is anybody's guess. */
inline wake_one(woken) {
	if
	:: queued == 0 -> woken = 0
	:: queued & 1 -> queued = queued & ~1; woken = 1
	:: queued & 2 -> queued = queued & ~2; woken = 1
	:: queued & 4 -> queued = queued & ~4; woken = 1
	:: queued & 8 -> queued = queued & ~8; woken = 1
	:: queued & 16 -> queued = queued & ~16; woken = 1
	:: queued & 32 -> queued = queued & ~32; woken = 1
	fi
}

/* --- Processes ------------------------------------------------------------------------------------------------ */
#define LIVING 0
#define DYING 1 /* killed; some threads may still run */
#define GONE 2  /* no thread left: pidfd says so */
#define FREE 3  /* buried: the number may be given anew */

byte life[CLIENTS + 1];
byte threads[CLIENTS + 1];
bool stale[CLIENTS + 1];
bool locked[CLIENTS + 1]; /* the private lock */
byte stopped;             /* the number of a client that is stopped for ever */

byte deaths, raw_deaths, kills, rebirths, interrupts, stops, keeps;

/* --- What nobody in the protocol knows, and is only asserted ------------------------------------------------- */
byte out;                /* permits taken and not given back, by whomever */
byte holds[CLIENTS + 1]; /* of them, by a living client */
byte lost[CLIENTS + 1];  /* by a dead one */
byte raw_lost;           /* by dead raw clients */
bool untold;             /* a permit of a dead holder was given back, and nobody has been told */

inline check() { assert(VALUE(word) + out == PERMITS) }

/* --- A thread of a library client ------------------------------------------------------------------------------ */
#if PERMITS > 1 && THREADS > 1 && BROKEN != NO_PRIVATE_LOCK
#define UNLOCKED(n) (!locked[n])
#define LOCK(n) locked[n] = true
#define UNLOCK(n) locked[n] = false
#else
#define UNLOCKED(n) true
#define LOCK(n) skip
#define UNLOCK(n) skip
#endif

/* A thread ends; with the last one of a killed process, the process. */
inline leave() {
	queued = queued & ~BIT(t);
	d = 0; par = 0; hint = 0;
	threads[n]--;
	if
	:: threads[n] == 0 && life[n] == DYING ->
		life[n] = GONE;
		lost[n] = lost[n] + holds[n];
		holds[n] = 0;
		stale[n] = false;
		locked[n] = false
	:: else
	fi
}

inline die() {
	if
	:: life[n] == LIVING -> deaths--; life[n] = DYING
	:: else
	fi;
	leave()
}

#define MAY_DIE :: atomic { life[n] == DYING || (life[n] == LIVING && deaths > 0) -> die(); goto end_dead }
#if STOPS
#define MAY_STOP :: atomic { stops > 0 && life[n] == LIVING -> stops--; stopped = n; d = 0; goto end_stopped }
#else
#define MAY_STOP
#endif
#if BROKEN == BURY_LIVING
#define MAY_CLOSE_SOCKET :: atomic { life[n] == LIVING && deaths > 0 -> deaths--; life[n] = GONE }
#else
#define MAY_CLOSE_SOCKET
#endif
#define MAY_END MAY_DIE MAY_STOP

/* After a round: another one, or none. */
inline next_round() {
	d = 0; par = 0;
	if
	:: rounds > 1 -> rounds--; goto ACQUIRE_LOAD
	:: leave(); goto end_done
	fi
}

proctype client(byte t; byte n; bool holding) {
	byte rounds = ROUNDS;
	short d;
	bool par;  /* of COUNT, as it was read after d */
	bool hint; /* stale, as it was read after d */
	bool woken;

	if
	:: holding -> goto RELEASE_LOAD
	:: else
	fi;

ACQUIRE_LOAD:
	if
	:: atomic { UNLOCKED(n) ->
		LOCK(n);
		d = word;
		if
		:: VALUE(d) == 0 && (d & F) == 0 -> goto ACQUIRE_FLAG
		:: VALUE(d) == 0 && (d & F) -> goto ACQUIRE_SLEEP
		:: VALUE(d) == 0 && interrupts > 0 -> interrupts--; UNLOCK(n); next_round() /* -ETIMEDOUT */
#if PERMITS > 1
		:: VALUE(d) > 0 && OWNER(d) != 0 -> d = 0; UNLOCK(n); goto ACQUIRE_BUSY
		:: VALUE(d) > 0 && OWNER(d) == 0 -> par = PARITY(slot[n]); hint = stale[n]; goto ACQUIRE_TAKE
#else
		:: VALUE(d) > 0 -> hint = stale[n]; goto ACQUIRE_TAKE
#endif
		fi }
	MAY_END
	fi;

ACQUIRE_FLAG:
	if
	:: atomic { word == d -> word = d | F; d = 0; UNLOCK(n); goto ACQUIRE_LOAD }
	:: atomic { word != d -> d = 0; UNLOCK(n); goto ACQUIRE_LOAD }
	MAY_END
	fi;

ACQUIRE_SLEEP: /* futex_waitv queues on the first word and compares it, then does the same with the second */
#if BROKEN == SLEEP_HIGH_FIRST
	if
	:: atomic { HIGH(word) == HIGH(d) -> UNLOCK(n) }
	:: atomic { HIGH(word) != HIGH(d) -> d = 0; UNLOCK(n); goto ACQUIRE_LOAD }
	MAY_END
	fi;
	if
	:: atomic { VALUE(word) == 0 -> queued = queued | BIT(t); d = 0 }
	:: atomic { VALUE(word) != 0 -> d = 0; goto ACQUIRE_LOAD }
	MAY_END
	fi;
#else
	if
	:: atomic { VALUE(word) == 0 -> queued = queued | BIT(t); UNLOCK(n) }
	:: atomic { VALUE(word) != 0 -> d = 0; UNLOCK(n); goto ACQUIRE_LOAD }
	MAY_END
	fi;
#if BROKEN == SLEEP_LOW
	d = 0;
#else
	if
	:: atomic { HIGH(word) == HIGH(d) -> d = 0 }
	:: atomic { HIGH(word) != HIGH(d) -> queued = queued & ~BIT(t); d = 0; goto ACQUIRE_LOAD }
	MAY_END
	fi;
#endif
#endif
end_asleep:
	if
	:: atomic { (queued & BIT(t)) == 0 -> goto ACQUIRE_LOAD }
	:: atomic { interrupts > 0 && (queued & BIT(t)) ->
		interrupts--;
		queued = queued & ~BIT(t);
		if
		:: goto ACQUIRE_LOAD /* the slice is over */
		:: next_round()      /* -EINTR */
		fi }
	MAY_END
	fi;

#if PERMITS > 1
ACQUIRE_BUSY: end_busy: /* the word is looked at again only when that can make a difference */
	if
	:: atomic { OWNER(word) == 0 || VALUE(word) == 0 -> goto ACQUIRE_LOAD }
	:: atomic { interrupts > 0 -> interrupts--; goto ACQUIRE_PASS } /* the deadline is over, or a handler ran */
	MAY_END
	fi;

ACQUIRE_PASS: /* it may have been woken for the permit that it now leaves to others */
	if
	:: atomic {
#if BROKEN != BUSY_GIVES_UP
		wake_one(woken);
#endif
		woken = false;
		next_round() }
	MAY_END
	fi;
#endif

ACQUIRE_TAKE:
	if
	:: atomic { word == d ->
		word = (d - 1) & ~(DIED | OPERATION);
#if BROKEN != OWNER_LATE
		word = word | OWN(n);
#endif
#if PERMITS > 1
		word = word | (par << 8);
#endif
		assert(((d & DIED) != 0) == untold);
		untold = false;
		out++; holds[n]++;
		check();
		if
		:: hint && (d & F) -> word = word & ~F
		:: else -> hint = 0
		fi;
		d = 0; par = 0;
#if BROKEN != OWNER_LATE
		if
		:: hint -> goto ACQUIRE_WAKE
		:: else -> goto ACQUIRE_COUNT
		fi
#endif
		}
	:: atomic { word != d -> d = 0; par = 0; hint = 0; UNLOCK(n); goto ACQUIRE_LOAD }
	MAY_END
	fi;
#if BROKEN == OWNER_LATE
	if
	:: word = word | OWN(n)
	MAY_END
	fi;
#endif

ACQUIRE_WAKE:
	if
	:: atomic { hint ->
#if BROKEN != STALE_NO_WAKE
		wake_all();
#endif
		stale[n] = false; hint = 0 }
	:: !hint
	MAY_END
	fi;

ACQUIRE_COUNT:
#if PERMITS > 1
	if
	:: atomic { slot[n] = SLOT(HELD(slot[n]) + 1, COUNT(slot[n]) + 1) }
	MAY_END
	fi;

ACQUIRE_CLEAR:
	if
	:: atomic { word = word & ~OPERATION; UNLOCK(n) }
	MAY_END
	fi;
#endif

RELEASE_LOAD: /* until here it holds the permit */
	if
	:: atomic { UNLOCKED(n) ->
#if PERMITS == 1
		d = word;
		assert(OWNER(d) == n) /* -EPERM */
#else
		LOCK(n);
		d = word;
		assert(HELD(slot[n]) > 0); /* -EPERM */
		if
		:: OWNER(d) != 0 -> d = 0; UNLOCK(n); goto RELEASE_BUSY
		:: else -> par = PARITY(slot[n]); goto RELEASE_GIVE
		fi
#endif
		}
#if KEEPS
	:: atomic { keeps > 0 -> keeps--; goto end_kept }
#endif
	MAY_END
	MAY_CLOSE_SOCKET
	fi;

RELEASE_GIVE:
	if
	:: atomic { word == d ->
		out--; holds[n]--;
#if PERMITS == 1
		word = (d + 1) & ~OWN(7);
		check();
		if
		:: HIGH(d) & (HIGH(F) | 3) -> goto RELEASE_WAKE
		:: else -> next_round()
		fi
#else
		word = (d + 1) | OWN(n) | (par << 8) | GIVE;
		check();
		d = 0; par = 0;
		goto RELEASE_COUNT
#endif
		}
	:: atomic { word != d -> d = 0; par = 0; UNLOCK(n); goto RELEASE_LOAD }
	MAY_END
	fi;

#if PERMITS > 1
RELEASE_BUSY: end_release_busy:
	if
	:: atomic { OWNER(word) == 0 -> goto RELEASE_LOAD }
	MAY_END
	fi;

RELEASE_COUNT:
	if
	:: atomic { slot[n] = SLOT(HELD(slot[n]) - 1, COUNT(slot[n]) + 1) }
	MAY_END
	fi;

RELEASE_CLEAR:
	if
	:: atomic {
		d = word;
		word = word & ~OPERATION;
		UNLOCK(n);
		if
		:: HIGH(d) & (HIGH(F) | 3) -> goto RELEASE_WAKE
		:: else -> next_round()
		fi }
	MAY_END
	fi;
#endif

RELEASE_WAKE: /* for F or W in what the last operation saw */
	if
	:: atomic {
#if BROKEN == RELEASE_NO_WAKE
		woken = true;
#else
		wake_one(woken);
#endif
		if
		:: !woken && (d & F) ->
#if BROKEN == CLEAR_EXACT || BROKEN == CLEAR_NO_W
			goto clear
#else
			stale[n] = true
#endif
		:: else
		fi;
		woken = false;
		next_round() }
	MAY_END
	fi;

#if BROKEN == CLEAR_EXACT || BROKEN == CLEAR_NO_W
clear:
	if
	:: atomic {
#if PERMITS == 1
		d = (d + 1) & ~OWN(7);
#else
		d = d & ~OPERATION;
#endif
		if
#if BROKEN == CLEAR_NO_W
		:: word == d && WAITERS(d) == 0 -> word = d & ~F
#else
		:: word == d -> word = d & ~F
#endif
		:: else
		fi;
		woken = false;
		next_round() }
	MAY_END
	fi;
#endif

end_dead:
	if
#if BROKEN == NUMBER_EARLY
	:: atomic { rebirths > 0 && (life[n] == FREE || life[n] == GONE) ->
		if
		:: life[n] == FREE -> life[n] = LIVING
		:: life[n] == GONE /* and is still to be buried */
		fi;
#else
	:: atomic { rebirths > 0 && life[n] == FREE ->
		life[n] = LIVING;
#endif
		rebirths--; threads[n] = 1; rounds = 1;
		goto ACQUIRE_LOAD }
	fi;
#if STOPS
end_stopped:
	false;
#endif
#if KEEPS
end_kept:
	if
	:: atomic { life[n] == DYING -> die(); goto end_dead }
	fi;
#endif
end_done:
	false
}

/* --- A program that uses sem_wait(3) and sem_post(3), as glibc 2.21 and later do them on 64 bits ------------- */
inline raw_end() {
	d = 0;
	queued = queued & ~BIT(t);
	closed = true
}

#define RAW_MAY_DIE(held) :: atomic { raw_deaths > 0 -> \
	raw_deaths--; raw_lost = raw_lost + held; raw_end(); goto closing }

proctype raw(byte t) {
	byte rounds = RAW_ROUNDS;
	short d;
	bool woken;

	atomic { !lease -> open++ }

sem_wait:
	if
	:: atomic { d = word;
		if
		:: VALUE(d) > 0 -> goto wait_fast
		:: else -> d = 0; goto wait_slow
		fi }
	RAW_MAY_DIE(0)
	fi;

wait_fast:
	if
	:: atomic { word == d -> word = d - 1; out++; check(); d = 0; goto sem_post }
	:: atomic { word != d -> d = 0; goto wait_slow }
	RAW_MAY_DIE(0)
	fi;

wait_slow:
	if
	:: atomic {
		d = word;
		assert(WAITERS(word) < 3);
		word = word + ONE_WAITER;
		if
		:: VALUE(d) == 0 -> d = 0; goto wait_sleep
		:: else -> d = word; goto wait_take
		fi }
	RAW_MAY_DIE(0)
	fi;

wait_sleep:
	if
	:: atomic { VALUE(word) == 0 -> queued = queued | BIT(t) }
	:: atomic { VALUE(word) != 0 -> goto wait_load }
	RAW_MAY_DIE(0)
	fi;
end_asleep:
	if
	:: atomic { (queued & BIT(t)) == 0 -> goto wait_load }
	:: atomic { interrupts > 0 && (queued & BIT(t)) ->
		interrupts--;
		queued = queued & ~BIT(t);
		goto wait_gives_up }
	RAW_MAY_DIE(0)
	fi;

wait_load:
	if
	:: atomic { d = word;
		if
		:: VALUE(d) == 0 -> d = 0; goto wait_sleep
		:: else -> goto wait_take
		fi }
	RAW_MAY_DIE(0)
	fi;

wait_take:
	if
	:: atomic { word == d ->
		assert(WAITERS(d) > 0);
		word = d - 1 - ONE_WAITER;
		out++; check();
		d = 0;
		goto sem_post }
	:: atomic { word != d -> d = 0; goto wait_load }
	RAW_MAY_DIE(0)
	fi;

wait_gives_up:
	if
	:: atomic { assert(WAITERS(word) > 0); word = word - ONE_WAITER; raw_end(); goto closing }
	RAW_MAY_DIE(0)
	fi;

sem_post:
	if
	:: d = word
	RAW_MAY_DIE(1)
	fi;
	if
	:: atomic { word == d ->
		word = d + 1;
		out--; check();
		if
		:: HIGH(d) != 0 -> d = 0; goto post_wake
		:: else -> d = 0; goto again
		fi }
	:: atomic { word != d -> d = 0; goto sem_post }
	RAW_MAY_DIE(1)
	fi;

post_wake:
	if
	:: atomic { wake_one(woken); woken = false; goto again }
	RAW_MAY_DIE(0)
	fi;

again:
	if
	:: atomic { rounds > 1 -> rounds--; goto sem_wait }
	:: atomic { raw_end(); goto closing }
	fi;

closing: /* the kernel tells of the close a little before the description stops counting */
	open--;
end_done:
	false
}

/* --- The daemon ---------------------------------------------------------------------------------------------- */
#define MAY_BE_KILLED :: atomic { kills > 0 -> kills--; n = 0; d = 0; \
	i = 0; missing = 0; scan[1] = 0; scan[2] = 0; scan[CLIENTS] = 0; goto START }

/* A burial that could only wait for another owner is not begun. */
#if PERMITS == 1 || BROKEN == BURY_ANY_OWNER
#define READY(m) (life[m] == GONE)
#else
#define READY(m) (life[m] == GONE && (OWNER(word) == 0 || OWNER(word) == m))
#endif

proctype daemon() {
	byte n, i;
	short d;
	byte missing;
	bool due; /* RAW_LEASE was refused, or has not been asked for since a close */
	byte scan[CLIENTS + 2];

START:
	if
	:: atomic { wake_all(); due = SETTLE; goto end_idle } /* BURY_WAKE */
	MAY_BE_KILLED
	fi;

end_idle:
	if
	:: atomic { READY(1) -> n = 1; goto bury }
#if CLIENTS > 1
	:: atomic { READY(2) -> n = 2; goto bury }
#endif
#if CLIENTS > 2
	:: atomic { READY(3) -> n = 3; goto bury }
#endif
#if CLIENTS > 3
	:: atomic { READY(4) -> n = 4; goto bury }
#endif
#if CLIENTS > 4
	:: atomic { READY(5) -> n = 5; goto bury }
#endif
#if SETTLE
	:: atomic { closed -> /* RAW_WAKE */
		closed = false;
		due = true;
#if BROKEN != RAW_NO_WAKE
		wake_all();
#endif
		goto end_idle }
	:: atomic { due && open == 0 && (PERMITS == 1 || OWNER(word) == 0) -> /* RAW_LEASE */
#if BROKEN != RAW_NO_LEASE
		lease = true;
#endif
		due = false;
		goto RAW_SCAN }
#endif
	MAY_BE_KILLED
	fi;

bury:
#if PERMITS == 1
BURY_GIVE:
	if
	:: atomic { d = word;
		if
		:: OWNER(d) != n -> d = 0; goto BURY_WAKE
		:: else
		fi }
	MAY_BE_KILLED
	fi;
	if
	:: atomic { word == d ->
		word = (d + 1) & ~OWN(7);
		assert(lost[n] == 1);
		lost[n] = 0; out--; untold = true;
		check();
		d = 0;
#if BROKEN != DIED_LATE
		word = word | DIED;
		goto BURY_GIVE
#endif
		}
	:: atomic { word != d -> d = 0; goto BURY_GIVE }
	MAY_BE_KILLED
	fi;
#if BROKEN == DIED_LATE
	if
	:: word = word | DIED; goto BURY_GIVE
	MAY_BE_KILLED
	fi;
#endif
#else /* PERMITS > 1 */
BURY_FINISH:
	if
	:: atomic { d = word;
		if
		:: OWNER(d) != n -> d = 0; goto BURY_MARK
#if BROKEN != NO_PARITY
		:: OWNER(d) == n && (d & PAR) != PAR_OF(slot[n]) -> d = 0; goto BURY_UNOWN
		:: OWNER(d) == n && (d & PAR) == PAR_OF(slot[n])
#else
		:: OWNER(d) == n
#endif
		fi }
	MAY_BE_KILLED
	fi;
	if
	:: atomic {
		if
		:: slot[n] & ALL -> slot[n] = SLOT(0, COUNT(slot[n]) + 1)
		:: (slot[n] & ALL) == 0 && (d & GIVE) -> slot[n] = SLOT(HELD(slot[n]) - 1, COUNT(slot[n]) + 1)
		:: (slot[n] & ALL) == 0 && (d & GIVE) == 0 -> slot[n] = SLOT(HELD(slot[n]) + 1, COUNT(slot[n]) + 1)
		fi;
		d = 0 }
	MAY_BE_KILLED
	fi;

BURY_UNOWN:
	if
	:: word = word & ~OPERATION
	MAY_BE_KILLED
	fi;

BURY_MARK:
	if
	:: atomic {
		if
		:: HELD(slot[n]) == 0 -> goto BURY_WAKE
#if BROKEN == NO_MARK
		:: HELD(slot[n]) > 0
#else
		:: HELD(slot[n]) > 0 -> slot[n] = slot[n] | ALL
#endif
		fi }
	MAY_BE_KILLED
	fi;

BURY_GIVE:
	if
	:: atomic { d = word;
		if
		:: OWNER(d) != 0 && BROKEN != BURY_ANY_OWNER -> d = 0; n = 0; goto end_idle /* not now */
		:: else
		fi }
	MAY_BE_KILLED
	fi;
	if
	:: atomic { word == d ->
		assert(VALUE(d) + HELD(slot[n]) <= PERMITS);
		word = ((d & ~OPERATION) + HELD(slot[n])) | OWN(n) | PAR_OF(slot[n]) | GIVE;
#if BROKEN != DIED_LATE
		word = word | DIED;
#endif
		assert(HELD(slot[n]) == lost[n]);
		out = out - lost[n]; lost[n] = 0; untold = true;
		check();
		d = 0 }
	:: atomic { word != d -> d = 0; goto BURY_GIVE }
	MAY_BE_KILLED
	fi;

BURY_COUNT:
	if
	:: atomic { slot[n] = SLOT(0, COUNT(slot[n]) + 1) }
	MAY_BE_KILLED
	fi;

BURY_CLEAR:
	if
	:: atomic { word = word & ~OPERATION;
#if BROKEN == DIED_LATE
		word = word | DIED
#endif
		}
	MAY_BE_KILLED
	fi;
#endif

BURY_WAKE:
	if
	:: atomic {
#if BROKEN != BURY_NO_WAKE
		wake_all();
#endif
		assert(lost[n] == 0);
		life[n] = FREE;
		n = 0;
		goto end_idle }
	MAY_BE_KILLED
	fi;

#if SETTLE
RAW_SCAN:
#if PERMITS == 1
	if
	:: atomic { d = word;
		if
		:: OWNER(d) == 0 && VALUE(d) == 0 -> missing = 1
		:: else -> d = 0
		fi }
	MAY_BE_KILLED
	fi;
#else
	i = 1;
	do
	:: atomic { i <= CLIENTS -> scan[i] = slot[i]; i++ }
	:: atomic { i > CLIENTS -> i = 1; break }
	MAY_BE_KILLED
	od;
	if
	:: atomic { OWNER(word) == 0 -> missing = VALUE(word) }
	:: atomic { OWNER(word) != 0 -> goto later }
	MAY_BE_KILLED
	fi;
#if BROKEN != RAW_ONE_SCAN
	do
	:: atomic { i <= CLIENTS && scan[i] == slot[i] -> i++ }
	:: atomic { i <= CLIENTS && scan[i] != slot[i] -> goto later }
	:: atomic { i > CLIENTS -> break }
	MAY_BE_KILLED
	od;
#endif
	atomic {
		i = 1;
		do
		:: i <= CLIENTS -> missing = missing + HELD(scan[i]); scan[i] = 0; i++
		:: else -> break
		od;
		i = 0;
		assert(missing <= PERMITS);
		missing = PERMITS - missing
	};
#endif

RAW_GIVE: /* one step: for any other word it is tried again at once */
	if
#if PERMITS == 1
	:: atomic { missing && word != d -> missing = 0; d = 0; goto RAW_SCAN }
	:: atomic { missing && word == d ->
		d = 0;
#else
	:: atomic { missing ->
#endif
		word = ((word & ~(3 * ONE_WAITER)) + missing) | DIED;
		assert(missing == raw_lost);
		out = out - missing; raw_lost = 0; untold = true;
		missing = 0;
		check() }
	:: atomic { !missing -> assert(raw_lost == 0); word = word & ~(3 * ONE_WAITER) }
	MAY_BE_KILLED
	fi;

RAW_UNLEASE:
	if
	:: lease = false
	MAY_BE_KILLED
	fi;
	if /* RAW_WAKE */
	:: atomic { wake_all(); goto end_idle }
	MAY_BE_KILLED
	fi;

#if PERMITS > 1
later:
	atomic {
		i = 1;
		do
		:: i <= CLIENTS -> scan[i] = 0; i++
		:: else -> break
		od;
		i = 0; missing = 0; due = true
	};
	if
	:: lease = false; goto end_idle
	MAY_BE_KILLED
	fi;
#endif
#endif
	false
}

/* --- At rest: nothing can move but by time ------------------------------------------------------------------- */
proctype rest() {
	byte held, i;

	/* At any time, mishaps end: a sleeper who could still be killed would not be at rest. */
	atomic { deaths = 0; raw_deaths = 0; kills = 0; rebirths = 0; interrupts = 0; stops = 0; keeps = 0 };
	timeout;
#if STOPS
	/* A stopped sleeper may have been given a wake-up. The library's slices mend that, each stopped one once. */
	atomic { queued = 0 };
	timeout;
	atomic { queued = 0 };
	timeout;
#endif
	atomic {
		/* No operation is half done, but that of a client that is stopped in it; there the others wait. */
		assert(OWNER(word) == 0 || OWNER(word) == stopped);
		if
		:: PERMITS > 1 && OWNER(word) != 0 -> goto done
		:: else
		fi;
		/* The dead are buried, */
		i = 1;
		do
		:: i <= CLIENTS ->
			held = held + holds[i];
			assert(PERMITS == 1 || HELD(slot[i]) == holds[i]);
			assert(lost[i] == 0 && (life[i] == LIVING || life[i] == FREE));
			i++
		:: else -> break
		od;
		assert(raw_lost == 0 || open > 0);
		assert(open > 0 || WAITERS(word) == 0);
		/* no permit is lost or doubled, */
		assert(VALUE(word) == PERMITS - held - raw_lost);
		/* and nobody is asleep for ever while there is a permit. */
		assert(VALUE(word) == 0 || queued == 0)
	};
done:
	skip
}

init {
	atomic {
		deaths = DEATHS; raw_deaths = RAW_DEATHS; kills = KILLS; rebirths = REBIRTHS;
		interrupts = INTERRUPTS; stops = STOPS; keeps = KEEPS;

		out = HOLDING;
		word = PERMITS - HOLDING;
		byte t = 0, n = 1, thread = 0;
		do
		:: t < LIBRARY_THREADS ->
			threads[n]++;
			if
			:: t < HOLDING ->
				holds[n]++;
#if PERMITS == 1
				word = word | OWN(n);
#else
				slot[n] = SLOT(HELD(slot[n]) + 1, COUNT(slot[n]) + 1);
#endif
			:: else
			fi;
			run client(t, n, t < HOLDING);
			t++;
			if
			:: n == 1 && t < THREADS
			:: else -> n++
			fi
		:: t >= LIBRARY_THREADS && t < LIBRARY_THREADS + RAW -> run raw(t); t++
		:: t >= LIBRARY_THREADS + RAW -> break
		od;
		t = 0; n = 0;
		run daemon();
		run rest()
	}
}
