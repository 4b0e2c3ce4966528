#pragma once

#include <cstddef>
#include <cstdint>

#include "common/clock.h"
#include "protocol/messages.h"
#include "rtree/free_chunks.h"
#include "rtree/geometry.h"
#include "transport/limits.h"
#include "transport/ring.h"

// Everything in the server has a limit, and all of them are here. Those that an operator may want
// to change are defaults of options (options.h); the others are part of the program.

namespace silurus::server {

// --- defaults of options
constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{4} << 30;  ///< nodes and staged loads
constexpr std::uint64_t kDefaultRingBudgetBytes = transport::kDefaultRingBudget;  ///< all rings
constexpr std::uint32_t kDefaultMaxClients = transport::kDefaultMaxConnections;
/// At one address, of one user of this machine, one IPv4 address or one /64 of IPv6.
constexpr std::uint32_t kDefaultMaxClientsPerPeer = 1024;
/// From connecting to the hello.
constexpr Nanoseconds kDefaultHandshakeTimeout = transport::kDefaultHelloTimeout;
constexpr Nanoseconds kDefaultGrace = 50 * kMillisecond;      ///< time lease of one-sided readers
constexpr Nanoseconds kDefaultHeartbeat = 10 * kMillisecond;  ///< to active clients

// --- bounds of options
constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{4} << 20;
constexpr std::uint64_t kMinRingBudgetBytes = std::uint64_t{64} << 10;
constexpr std::uint32_t kMaxClientsCeiling = 1u << 20;
constexpr std::uint32_t kMaxThreads = 256;
constexpr std::size_t kMaxListeners = 16;
constexpr Nanoseconds kMinHandshakeTimeout = kMillisecond;
constexpr Nanoseconds kMaxHandshakeTimeout = 600 * kSecond;
/// A client that sends nothing costs its ring alone, and stays, unless --idle-timeout is set.
constexpr Nanoseconds kMinIdleTimeout = kSecond;
constexpr Nanoseconds kMaxIdleTimeout = 7 * 24 * 3600 * kSecond;
/// Idle clients are looked for so often in the time that they may be idle.
constexpr int kIdleLooks = 4;
constexpr Nanoseconds kMinGrace = kMillisecond;
constexpr Nanoseconds kMaxGrace = 10 * kSecond;
constexpr Nanoseconds kMinHeartbeat = 100 * kMicrosecond;
constexpr Nanoseconds kMaxHeartbeat = 10 * kSecond;

// --- threads and their waiting
/// Threads for each processor that may be asked for: more are a mistake.
constexpr std::uint64_t kMaxThreadsOfACore = 8;
/// A worker sweeps in vain for so long before it leaves the waiting to its Waiter, which is more
/// polite but slower to notice: a client that asks its next question at once is met by this.
constexpr Nanoseconds kSweepInVain = 4 * kMicrosecond;
/// Before a nap, which will collect what comes: just long enough for a client that asks at once.
constexpr Nanoseconds kSweepBeforeNap = 1 * kMicrosecond;
/// A server that has run, and cannot start again, tries each time after this pause.
constexpr Nanoseconds kStartAgainPause = kSecond;

// --- one request
constexpr std::uint32_t kMaxK = protocol::kMaxK;        ///< neighbours asked for
constexpr std::uint32_t kMaxBatchOperations = 1024;     ///< operations in one WriteRequest
constexpr std::uint32_t kMaxCombinedOperations = 1024;  ///< of several requests, in one version

// --- one session (protocol::kMaxRequestsInFlight is part of the protocol)
/// A search is first run for at most this number of results (and the rest of a leaf) and answered.
/// One that has more goes on as a stream: slice by slice, sent as fast as the client takes it.
constexpr std::uint32_t kInlineResults = 4096;
constexpr std::uint32_t kInlineNeighbors = 256;
/// So does one that would look at more nodes than this, because many boxes overlap its window, or
/// are as near as its last neighbour.
constexpr std::uint32_t kMaxNodesAtOnce = 512;
constexpr std::uint32_t kMaxNearestNodesAtOnce = 128;  ///< which take longer, and need fewer
/// Answers that find no room before the session takes no more requests from its ring.
constexpr std::size_t kMaxHeldAnswers = 64;
/// Nodes that a stream visits before others have their turn.
constexpr std::uint32_t kSliceNodes = 64;
/// Bytes of one message of an answer, if the connection allows that much.
constexpr std::size_t kMaxSegmentBytes = std::size_t{32} << 10;
/// A stream pins its version of the tree, and pinned versions hold back writers. One whose client
/// takes nothing for so long, or that lasts so long in all, ends with an error.
constexpr Nanoseconds kMaxStreamStall = 5 * kSecond;
constexpr Nanoseconds kMaxStreamTime = 60 * kSecond;
/// So does one that lasts so long while old versions take three quarters of the memory beyond which
/// writers wait.
constexpr Nanoseconds kStreamTimeWhenShort = kSecond;
/// A client counts as active, and gets heartbeats, for so long after its last message.
constexpr Nanoseconds kActiveFor = kSecond;

// --- all sessions together
/// Searches of one sweep that are run interleaved, each prefetching while the others run.
constexpr std::uint32_t kMaxSearchBatch = 64;
/// Nearest searches, one after the other, between two looks at the clock.
constexpr std::size_t kNearestBatch = 16;
/// When the searches of a sweep have taken so long, those left over wait for the next one, and each
/// session has one search run in a sweep; twice as many in each further sweep that takes less.
constexpr Nanoseconds kSearchTime = 2 * kMillisecond;
/// When the slices of a sweep have taken so long, the other streams have theirs in the next one.
constexpr Nanoseconds kSlicesTime = kMillisecond;
/// Operations that wait for the writer; a request that would exceed it is refused (kUnavailable).
constexpr std::uint64_t kMaxQueuedOperations = std::uint64_t{1} << 18;
/// Nodes that an operation, and a batch on top of its operations, may copy or add: what must be
/// free before a batch begins, if waiting for retired memory can free it. Searched again after
/// kMemoryRetry.
constexpr rtree::NodeCounts kNodesOfAnOperation = {.leaves = 2, .inners = 1};
constexpr rtree::NodeCounts kNodesOfAnUpdate = {.leaves = 4, .inners = 2};  ///< both its places
constexpr rtree::NodeCounts kNodesOfABatch = {.leaves = 4, .inners = 12};
constexpr Nanoseconds kMemoryRetry = 2 * kMillisecond;
/// A compaction goes on when no more than this share of the budget is retired and comes back: a
/// quarter of what makes writers wait.
constexpr std::uint64_t kCompactionShare = 16;

// --- tasks: backups and lists of differences
constexpr std::uint32_t kMaxTasks = 64;  ///< run and waiting at once; they run one after the other
/// Entries in leaves that differ, which a diff lists at most.
constexpr std::uint64_t kMaxDiffEntries = std::uint64_t{1} << 18;

// --- durability
/// A checkpoint is taken at once when this share of the log is used.
constexpr double kLogShareToCheckpoint = 0.5;
/// The background thread looks so often whether a checkpoint is due by time; one that failed is
/// tried again after as long.
constexpr Nanoseconds kCheckpointLooks = kSecond;
/// A writer that finds the log full looks again after so long.
constexpr Nanoseconds kFullLogWait = kMillisecond;
/// A worker whose only client has not searched for so long waits for flushes itself.
constexpr Nanoseconds kSearchPause = 10 * kMillisecond;
/// A client that sends a batch of writes leaves no longer a gap between two of them.
constexpr Nanoseconds kWriteGap = 3 * kMicrosecond;
constexpr Nanoseconds kMinFlushInterval = 100 * kMicrosecond;
constexpr Nanoseconds kMaxFlushInterval = 10 * kSecond;
constexpr Nanoseconds kMinCheckpointInterval = kSecond;
constexpr Nanoseconds kMaxCheckpointInterval = 24 * 3600 * kSecond;
/// Old versions may hold this share of the memory budget: half of what makes writers wait.
constexpr std::uint64_t kHistoryShare = 8;
/// A client that reads an old version one-sidedly has it held for so long each time it asks.
constexpr Nanoseconds kDefaultHoldLease = 2 * kSecond;
constexpr Nanoseconds kMaxRetain = 7 * 24 * 3600 * kSecond;
constexpr std::uint64_t kMinRetainVersions = 8;
constexpr std::uint64_t kDefaultRetainVersions = 256;
constexpr std::uint64_t kMaxRetainVersions = 4096;

// --- a member of a group
/// The group's thread waits at most for so long for something to happen.
constexpr Nanoseconds kLongestTurn = 100 * kMillisecond;
/// A server that starts waits for so long for etcd, or for the first member of a static group.
constexpr Nanoseconds kFirstAnswerWait = 5 * kSecond;
/// Once a member was given up, those who still write are told so often.
constexpr Nanoseconds kGivenUpPause = 20 * kMillisecond;
/// What only people look at (statistics) is brought up to date so often, if nothing else happens.
constexpr Nanoseconds kStandingInterval = 50 * kMillisecond;
/// When a group has too few members (--min-members), writes wait for so long for others to join it;
/// then they are refused, and those that are applied are in doubt.
constexpr Nanoseconds kMembersMayJoin = 3 * kSecond;
/// Batches that are logged and not committed yet: one on its way, and the next one right behind it.
constexpr std::size_t kMaxBatchesInFlight = 2;
/// Clients that send a batch of writes leave no longer a gap between two of them.
constexpr Nanoseconds kGroupWriteGap = 20 * kMicrosecond;
/// One part in so many of a log is kept behind the last checkpoint, for members that were away for
/// a while; and when so much was written since, the next one is taken.
constexpr std::uint64_t kKeptLogShare = 4;
/// A member that joins is waited for with this part of the log (JoinPace) ...
constexpr std::uint64_t kJoinRoomPercent = 75;
/// ... of which a quarter is there for what is written before its copy has begun to come, half for
/// the time of the copy, and the rest for the time in which it starts again with that.
constexpr double kJoinRoomBeforeCopy = 0.25;
constexpr double kJoinRoomOfCopy = 0.5;
/// When less than this part of the room is left, writers take what is left in so long, ...
constexpr double kJoinRoomOfSlowWriters = 0.125;
constexpr Nanoseconds kJoinRoomLasts = 5 * kSecond;
/// ... but no batch waits for longer than this behind the one before.
constexpr Nanoseconds kLongestJoinWait = kSecond;
/// A copy from which nothing has come for so long is taken from another member; when none gave one,
/// all are asked again after a while, each time after twice as long.
constexpr Nanoseconds kCopyPatience = 10 * kSecond;
constexpr Nanoseconds kCopyPause = kSecond;
constexpr Nanoseconds kLongestCopyPause = 30 * kSecond;
/// ... and if there was no room for it here.
constexpr Nanoseconds kLongestCopyPauseWithoutRoom = 600 * kSecond;
/// What is held since others copy the tree may be this share of the memory budget, and half of what
/// is free.
constexpr std::uint64_t kCopiesShare = 8;
constexpr std::uint32_t kMaxShard = 65535;
constexpr Nanoseconds kMinGroupLease = 100 * kMillisecond;
constexpr Nanoseconds kMaxGroupLease = 60 * kSecond;

// --- being replaced by other servers
/// Nobody may write for so long at most, until whoever asked for that asks again.
constexpr Nanoseconds kMaxFreeze = 60 * kSecond;
/// Leaves, or operations, in one page of an export.
constexpr std::size_t kLeavesOfAPage = 128;
constexpr std::size_t kOperationsOfAPage = 8192;
/// Entries in leaves that differ, which one list of changes holds at most.
constexpr std::uint64_t kMaxExportedChanges = std::uint64_t{1} << 24;
/// An export pins its version of the tree: one that nobody asks for so long is given up.
constexpr Nanoseconds kMaxExportIdle = 60 * kSecond;

// --- bulk load
/// Share of the memory budget that staged entries may take: the tree built of them (at most 60
/// bytes an entry, against 40 staged) must fit beside them.
constexpr double kLoadStagingShare = 0.4;
/// Entries in one piece of the staging area.
constexpr std::size_t kStagingPieceEntries = std::size_t{1} << 16;
/// A load whose client sends nothing for so long is aborted, since it keeps all others from
/// writing.
constexpr Nanoseconds kMaxLoadIdle = 60 * kSecond;

// How they fit together.
static_assert(kMaxCombinedOperations >= kMaxBatchOperations,
              "a request is never split between versions");
static_assert(kMaxQueuedOperations >= 64 * kMaxBatchOperations);
static_assert(kInlineNeighbors <= kMaxK);
static_assert(kMaxHeldAnswers < protocol::kMaxRequestsInFlight,
              "a client that is slow is held back before it is disconnected");
static_assert(kMaxSegmentBytes >= sizeof(protocol::AnswerHeader) + sizeof(rtree::Entry<3>));
static_assert(kInlineResults * sizeof(std::uint64_t) <= 2 * kMaxSegmentBytes,
              "an answer sent at once is a few messages");
static_assert(kActiveFor > kMaxHeartbeat / 20 && kActiveFor > 10 * kDefaultHeartbeat);
static_assert(kMaxStreamStall < kMaxStreamTime);
static_assert(kDefaultMaxClientsPerPeer < kDefaultMaxClients, "one peer leaves room for others");
static_assert(kDefaultMaxClientsPerPeer <= transport::kDefaultMaxHandshakes,
              "all clients of a peer may connect at the same moment");
static_assert(kDefaultMaxClientsPerPeer * 2 * std::uint64_t{transport::kMinRingBytes} <=
                  kDefaultRingBudgetBytes / 2,
              "a peer may have its clients at each of two addresses");
static_assert(kMinHandshakeTimeout <= kDefaultHandshakeTimeout &&
              kDefaultHandshakeTimeout <= kMaxHandshakeTimeout);
static_assert(kMinIdleTimeout >= kActiveFor, "an active client is not idle");
static_assert(kLoadStagingShare > 0 && kLoadStagingShare < 1);
static_assert(kDefaultRingBudgetBytes + kDefaultMemoryBytes < std::uint64_t{8} << 30);

}  // namespace silurus::server
