/* The agreement of a group: commit, change of view, read lease. See README.md for what is what in
 * the code. Three members, one crash (and restart), one partition (and its end); messages may be
 * lost or late at any time, for every step is optional. Time is left out but for one thing: a
 * promise ends at the member that gave it no sooner than at the primary that holds it.
 *
 * With QUORUM the rule is that of Ack::kQuorum, with METADATA that of Ack::kMetadata; else that of
 * Ack::kAll.
 *
 *   scripts/check-model
 */
#define N 3
#ifndef LOG
#define LOG 3                   /* records */
#endif
#ifndef VIEWS
#define VIEWS 4                 /* epochs */
#endif

#ifndef START
#define START 7                 /* the members of the first view */
#endif

#ifndef CRASHES
#define CRASHES 1
#endif

#if defined(QUORUM) || defined(METADATA)
#define WEAK                    /* a member that restarts counts for nothing before the next view */
#endif

#define BIT(m) (1 << (m))
#define HAS(set, m) (((set) >> (m)) & 1)

/* A record is named by its place and the epoch that it was written in. */
typedef Log { byte epoch[LOG]; byte end };
Log log[N];                     /* durable */

/* The view store. */
byte v_epoch = 1, v_primary = 0, v_members = START, v_since = 1, v_life = 0;

/* What each member knows and is. */
byte epoch[N], primary[N], members[N], since[N], life[N];
bool alive[N], leads[N], candidate[N];
byte in_step[N];                /* with the reign that began in this epoch */
byte commit[N], ready_at[N];
/* A proposal under way; it may still arrive when its member has crashed. */
bool proposes[N], p_leads[N];
byte p_members[N], p_epoch[N], p_life[N];

/* The table of the shared state: the rows as the primary sees them. */
byte row_epoch[N], row_durable[N];

/* Bit p of promised[m]: m has promised p; bit m of holds[p]: p may rely on that. */
byte promised[N], holds[N];

#ifdef WEAK
byte born[N];                   /* the view that it was a member of when it started; 0: none */
/* What a row is worth: of the view that is nothing, if its member came back to it. */
#define COUNTS(i, a, next) (i == a || (row_epoch[i] == epoch[a] && (next || born[i] != epoch[a])))
#define ALL_OF(a) (commit[a] > ready_at[a] -> commit[a] : ready_at[a])
#define ENOUGH(a, set) AGREED(a, set, ALL_OF(a), 1)
#define IS_BACK(a) (born[a] == epoch[a])
#else
#define ENOUGH(a, set) true
#define IS_BACK(a) false
#endif

#ifdef METADATA
/* What is known of the log of the primary that it was in step with last: one more than its end; 0:
 * it has forgotten, in a restart. And that, as the primary sees it. */
byte noted[N], row_known[N];
#define KNOWS(i, a, set, x, next) \
  (!HAS(set, i) || (i == a -> log[a].end >= (x) : COUNTS(i, a, next) && row_known[i] > (x)))
#define AGREED(a, set, x, next) \
  (KNOWS(0, a, set, x, next) && KNOWS(1, a, set, x, next) && KNOWS(2, a, set, x, next))
#define HAS_ALL(a) (primary[a] == a || (noted[a] > 0 && log[a].end + 1 >= noted[a]))
#else
#define HAS_ALL(a) true
#endif

#ifdef QUORUM
#define SIZE(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2))
#define MAJORITY(set) (SIZE(set) / 2 + 1)
#define AGREES(i, a, set, x, next) \
  (HAS(set, i) && COUNTS(i, a, next) && (i == a -> log[a].end : row_durable[i]) >= (x))
#define AGREED(a, set, x, next) (AGREES(0, a, set, x, next) + AGREES(1, a, set, x, next) + \
                                 AGREES(2, a, set, x, next) >= MAJORITY(set))
#define LAST(a) (log[a].end == 0 -> 0 : log[a].epoch[log[a].end - 1])
/* Of those who stand, b's log is no newer than a's. */
#define STANDS(b, a) (HAS(members[a], b) && alive[b] && candidate[b] && epoch[b] == epoch[a] && \
                      (LAST(b) < LAST(a) || (LAST(b) == LAST(a) && log[b].end <= log[a].end)))
#define HOLDS(a, set) (HAS(holds[a], 0) * HAS(set, 0) + HAS(holds[a], 1) * HAS(set, 1) + \
                       HAS(holds[a], 2) * HAS(set, 2) + 1 >= MAJORITY(set))
#define MAY_READ(a) (HOLDS(a, members[a]) && (!proposes[a] || HOLDS(a, p_members[a])))
#else
#define MAY_READ(a) (((NEEDED(a) & (7 - BIT(a))) & (7 - holds[a])) == 0)
#endif

byte cut = N;                   /* who is cut off from the other members */
byte crashes = CRASHES, partitions = 1;

/* What was committed, by whomever: for the assertions only. */
byte c_end, c_epoch[LOG];

#define REACHES(a, b) (cut != (a) && cut != (b))
#define FOLLOWS(m, p) (alive[m] && alive[p] && leads[p] && m != p && !leads[m] && !candidate[m] && \
                       primary[m] == p && epoch[m] == epoch[p] && since[m] == since[p] && REACHES(m, p))
#define NEEDED(p) (members[p] | (proposes[p] -> p_members[p] : 0))

byte m, p, i, least;

/* What is of no use any more is made 0, so that states that differ in nothing else are one. */
inline forget_proposal(a) {
  proposes[a] = false; p_members[a] = 0; p_epoch[a] = 0; p_life[a] = 0; p_leads[a] = false
}

inline learn(a) {
  d_step {
#ifdef WEAK
    if
    :: epoch[a] == 0 -> born[a] = (HAS(v_members, a) -> v_epoch : 0)
    :: else
    fi;
#endif
    epoch[a] = v_epoch; primary[a] = v_primary; members[a] = v_members;
    candidate[a] = false; forget_proposal(a);
    if
    :: v_primary == a && v_life == life[a] ->
      if
      :: !leads[a] ->
        leads[a] = true; since[a] = v_since;
        assert(log[a].end >= c_end);            /* nothing committed is missing */
        i = 0;
        do
        :: i < c_end -> assert(log[a].epoch[i] == c_epoch[i]); i++
        :: else -> break
        od;
        i = 0;
        if
        :: log[a].end < LOG -> log[a].epoch[log[a].end] = v_epoch; log[a].end++
        :: else
        fi;
        ready_at[a] = log[a].end
      :: else
      fi
    :: else -> leads[a] = false; since[a] = v_since; commit[a] = 0; ready_at[a] = 0; holds[a] = 0
    fi
  }
}

#ifdef METADATA
inline tell_row(a) { row_epoch[a] = epoch[a]; row_durable[a] = log[a].end; row_known[a] = noted[a] }
#else
inline tell_row(a) { row_epoch[a] = epoch[a]; row_durable[a] = log[a].end }
#endif

inline fall_in_step(a, b) {     /* a, with primary b */
  d_step {
    i = 0;
    do
    :: i < log[a].end && i < log[b].end && log[a].epoch[i] == log[b].epoch[i] -> i++
    :: else -> break
    od;
#ifdef WEAK
    assert(i >= log[a].end || i >= c_end || log[a].epoch[i] != c_epoch[i]);   /* nor does anybody */
#else
    assert(!HAS(members[a], a) || log[a].end < c_end || i >= c_end);  /* a member loses no commit */
#endif
    do
    :: log[a].end > i -> log[a].end--; log[a].epoch[log[a].end] = 0
    :: else -> break
    od;
#ifdef METADATA
    noted[a] = log[b].end + 1;
#endif
    in_step[a] = since[a]; i = 0; tell_row(a)
  }
}

inline find_commit(a) {
  d_step {
#ifdef WEAK
    least = log[a].end;
    do
    :: least > 0 && (!AGREED(a, members[a], least, 0) ||
                     (proposes[a] && !AGREED(a, p_members[a], least, 1))) -> least--
    :: else -> break
    od;
    if
    :: least < ready_at[a] -> least = 0
    :: else
    fi;
#else
    least = log[a].end; i = 0;
    do
    :: i < N ->
      if
      :: i != a && HAS(NEEDED(a), i) ->
        if
        :: row_epoch[i] != epoch[a] -> least = 0
        :: row_epoch[i] == epoch[a] && row_durable[i] < least -> least = row_durable[i]
        :: else
        fi
      :: else
      fi;
      i++
    :: else -> break
    od;
#endif
    if
    :: least > commit[a] -> commit[a] = least
    :: else
    fi;
    i = 0;
    do
    :: i < commit[a] ->
      if
      :: i < c_end -> assert(c_epoch[i] == log[a].epoch[i])     /* all agree on what is committed */
      :: else -> c_epoch[i] = log[a].epoch[i]; c_end = i + 1
      fi;
      i++
    :: else -> break
    od;
    i = 0; least = 0
  }
}

active proctype group() {
  d_step {
    alive[0] = true; alive[1] = true; alive[2] = true
  }
  do
  :: atomic {
    m = 0;
    do
    :: m < N - 1 -> m++
    :: break
    od;
    p = 0;
    do
    :: p < N - 1 -> p++
    :: break
    od;
    if
    /* --- views */
    :: m == p && alive[m] && epoch[m] < v_epoch -> learn(m)
    :: m == p && proposes[m] && v_epoch > p_epoch[m] && !alive[m] -> forget_proposal(m)
    :: m == p && proposes[m] && v_epoch == p_epoch[m] && v_epoch < VIEWS -> d_step {
        v_epoch++; v_members = p_members[m];
        if
        :: p_leads[m] && v_primary == m && v_life == p_life[m]
        :: else -> v_since = v_epoch
        fi;
        v_primary = m; v_life = p_life[m]
      }
    :: m == p && alive[m] && epoch[m] > 0 && !leads[m] && !candidate[m] && HAS(members[m], m) &&
       promised[m] == 0 && !FOLLOWS(m, primary[m]) -> d_step { candidate[m] = true; in_step[m] = 0 }
#ifdef QUORUM
    :: m == p && alive[m] && candidate[m] && !proposes[m] &&
       STANDS(0, m) + STANDS(1, m) + STANDS(2, m) >= SIZE(members[m]) - MAJORITY(members[m]) + 1 ->
      d_step {
        p_members[m] = members[m];
        p_epoch[m] = epoch[m]; p_life[m] = life[m]; p_leads[m] = false; proposes[m] = true
      }
#else
    :: m == p && alive[m] && candidate[m] && !proposes[m] && HAS_ALL(m) -> d_step {
        p_members[m] = BIT(m); i = 0;
        do
        :: i < N ->
          if
          :: i != m && alive[i] && candidate[i] && epoch[i] == epoch[m] && HAS(members[m], i) &&
             log[i].end <= log[m].end -> p_members[m] = p_members[m] | BIT(i)
          :: else
          fi;
          i++
        :: else -> break
        od;
        i = 0;
        p_epoch[m] = epoch[m]; p_life[m] = life[m]; p_leads[m] = false; proposes[m] = true
      }
#endif
#ifdef WEAK
    :: m != p && alive[m] && leads[m] && !proposes[m] && HAS(members[m], p) && IS_BACK(p) &&
       row_epoch[p] == epoch[m] && row_durable[p] >= ALL_OF(m) && ENOUGH(m, members[m]) -> d_step {
        p_members[m] = members[m];                                       /* takes p back in */
        p_epoch[m] = epoch[m]; p_life[m] = life[m]; p_leads[m] = true; proposes[m] = true
      }
#endif
    :: m != p && alive[m] && leads[m] && !proposes[m] && HAS(members[m], p) &&
       !FOLLOWS(p, m) && ENOUGH(m, members[m] & (7 - BIT(p))) -> d_step {
        p_members[m] = members[m] & (7 - BIT(p));                        /* votes p out */
        p_epoch[m] = epoch[m]; p_life[m] = life[m]; p_leads[m] = true; proposes[m] = true
      }
    :: m != p && alive[m] && leads[m] && !proposes[m] && !HAS(members[m], p) &&
       commit[m] >= ready_at[m] && row_epoch[p] == epoch[m] && row_durable[p] >= commit[m] &&
       ENOUGH(m, members[m] | BIT(p)) -> d_step {
        p_members[m] = members[m] | BIT(p);                              /* takes p in */
        p_epoch[m] = epoch[m]; p_life[m] = life[m]; p_leads[m] = true; proposes[m] = true
      }
    /* --- the log */
    :: m == p && alive[m] && leads[m] && commit[m] >= ready_at[m] && log[m].end < LOG -> d_step {
        log[m].epoch[log[m].end] = epoch[m]; log[m].end++
      }
    :: FOLLOWS(m, p) && in_step[m] != since[m] -> fall_in_step(m, p)
    :: FOLLOWS(m, p) && in_step[m] == since[m] && log[m].end < log[p].end -> d_step {
        log[m].epoch[log[m].end] = log[p].epoch[log[m].end]; log[m].end++; tell_row(m)
      }
    :: FOLLOWS(m, p) && in_step[m] == since[m] && row_epoch[m] != epoch[m] -> d_step { tell_row(m) }
#ifdef METADATA
    :: FOLLOWS(m, p) && in_step[m] == since[m] && noted[m] <= log[p].end -> d_step {
        noted[m] = log[p].end + 1; tell_row(m)          /* hears of it, and says so */
      }
#endif
    :: m == p && alive[m] && leads[m] && commit[m] < log[m].end -> find_commit(m)
#ifdef LEASE
    /* --- reading */
    :: FOLLOWS(m, p) && !HAS(promised[m], p) -> promised[m] = promised[m] | BIT(p)
    :: FOLLOWS(m, p) && HAS(promised[m], p) && !HAS(holds[p], m) && !IS_BACK(m) -> holds[p] = holds[p] | BIT(m)
    :: HAS(holds[p], m) -> holds[p] = holds[p] & (7 - BIT(m))
    :: HAS(promised[m], p) && !HAS(holds[p], m) -> promised[m] = promised[m] & (7 - BIT(p))
    :: m == p && alive[m] && leads[m] && commit[m] >= ready_at[m] &&
       MAY_READ(m) ->
      assert(commit[m] == c_end)        /* what is read is the newest that was committed */
#endif
    /* --- faults */
    :: m == p && m < 2 && crashes > 0 && alive[m] -> d_step {
        crashes--; alive[m] = false; leads[m] = false; candidate[m] = false; commit[m] = 0;
        holds[m] = 0; in_step[m] = 0; ready_at[m] = 0; epoch[m] = 0; primary[m] = 0; members[m] = 0;
        since[m] = 0
#ifdef WEAK
        ; born[m] = 0
#endif
#ifdef METADATA
        ; noted[m] = 0
#endif
      }
    :: m == p && !alive[m] -> d_step {
        alive[m] = true; life[m]++
      }
    :: m == p && partitions > 0 -> d_step { partitions--; cut = m }
    :: m == p && m == 0 && cut < N -> cut = N
    :: else                             /* nothing for this pair just now */
    fi;
    m = 0; p = 0
  }
  od
}
