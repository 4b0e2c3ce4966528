// SPDX-License-Identifier: Apache-2.0

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
/// --memory: nodes and staged bulk loads.
constexpr std::uint64_t kDefaultMemoryBytes = std::uint64_t{4} << 30;
/// --ring-budget: the message rings of all clients.
constexpr std::uint64_t kDefaultRingBudgetBytes = transport::kDefaultRingBudget;
/// --max-clients.
constexpr std::uint32_t kDefaultMaxClients = transport::kDefaultMaxConnections;
/// --max-clients-per-peer: clients of one peer (a user of this machine, an IPv4 address, a /64 of
/// IPv6) at one address of the server.
constexpr std::uint32_t kDefaultMaxClientsPerPeer = 1024;
/// --handshake-timeout: from connecting to the hello.
constexpr Nanoseconds kDefaultHandshakeTimeout = transport::kDefaultHelloTimeout;
/// --grace: time lease of one-sided readers.
constexpr Nanoseconds kDefaultGrace = 50 * kMillisecond;
/// --heartbeat: interval of heartbeats to active clients.
constexpr Nanoseconds kDefaultHeartbeat = 10 * kMillisecond;

// --- bounds of options
constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{4} << 20;       ///< limit of --memory
constexpr std::uint64_t kMinRingBudgetBytes = std::uint64_t{64} << 10;  ///< limit of --ring-budget
constexpr std::uint32_t kMaxClientsCeiling = 1u << 20;                  ///< limit of --max-clients
constexpr std::uint32_t kMaxThreads = 256;                              ///< limit of --threads
constexpr std::size_t kMaxListeners = 16;  ///< addresses that one server listens at
constexpr Nanoseconds kMinHandshakeTimeout = kMillisecond;
constexpr Nanoseconds kMaxHandshakeTimeout = 600 * kSecond;
/// A client that sends nothing costs its ring alone, and stays, unless --idle-timeout is set.
constexpr Nanoseconds kMinIdleTimeout = kSecond;
constexpr Nanoseconds kMaxIdleTimeout = 7 * 24 * 3600 * kSecond;
/// Searches for idle clients within one --idle-timeout.
constexpr int kIdleLooks = 4;
constexpr Nanoseconds kMinGrace = kMillisecond;
constexpr Nanoseconds kMaxGrace = 10 * kSecond;
constexpr Nanoseconds kMinHeartbeat = 100 * kMicrosecond;
constexpr Nanoseconds kMaxHeartbeat = 10 * kSecond;

// --- threads and their waiting
/// Threads of one core that --threads may ask for: more are a mistake.
constexpr std::uint64_t kMaxThreadsOfACore = 8;
/// Time that a worker sweeps without finding anything before its Waiter takes over, which uses less
/// CPU and notices messages later. Long enough for a client that asks its next question at once.
constexpr Nanoseconds kSweepInVain = 4 * kMicrosecond;
/// Before a pause, which will collect what comes, or a sleep: just long enough for a client that
/// asks at once.
constexpr Nanoseconds kSweepBeforeRest = 1 * kMicrosecond;
/// The longest pauses, which requests may have to wait for: of --wait adaptive, of --wait periodic.
constexpr Nanoseconds kDefaultLongestPause = kMillisecond;
constexpr Nanoseconds kDefaultLongestPauseTold = 5 * kMillisecond;
constexpr Nanoseconds kMinLongestPause = 100 * kMicrosecond;
constexpr Nanoseconds kMaxLongestPause = kSecond;
/// Pause between the attempts of a server that has run and cannot start again.
constexpr Nanoseconds kStartAgainPause = kSecond;
/// --restart-hung: less would take a machine that is busy for a server that hangs.
constexpr Nanoseconds kMinRestartHung = kSecond;
constexpr Nanoseconds kMaxRestartHung = 3600 * kSecond;

// --- one request
constexpr std::uint32_t kMaxK = protocol::kMaxK;     ///< neighbours that one search may ask for
constexpr std::uint32_t kMaxBatchOperations = 1024;  ///< operations in one WriteRequest
/// Operations, of several requests, that are published together as one version.
constexpr std::uint32_t kMaxCombinedOperations = 1024;

// --- one session (protocol::kMaxRequestsInFlight is part of the protocol)
/// Results of a search that are sent at once (and the rest of a leaf). A search that has more goes
/// on as a stream: slice by slice, as fast as the client takes it.
constexpr std::uint32_t kInlineResults = 4096;
/// Neighbours that are sent at once; more go on as a stream.
constexpr std::uint32_t kInlineNeighbors = 256;
/// Nodes that a search looks at before it goes on as a stream: many boxes may overlap its window.
constexpr std::uint32_t kMaxNodesAtOnce = 512;
/// The same of a nearest search, whose nodes take longer and which needs fewer.
constexpr std::uint32_t kMaxNearestNodesAtOnce = 128;
/// Answers without room in the client's ring, above which the session takes no more requests.
constexpr std::size_t kMaxQueuedAnswers = 64;
/// Nodes that a stream visits before others have their turn.
constexpr std::uint32_t kSliceNodes = 64;
/// Bytes of one message of an answer, if the connection allows messages of that length.
constexpr std::size_t kMaxSegmentBytes = std::size_t{32} << 10;
/// Time in which the client of a stream takes nothing, after which the stream ends with an error: a
/// stream pins its version of the tree, and pinned versions hold back writers.
constexpr Nanoseconds kMaxStreamStall = 5 * kSecond;
/// Time that a stream may last in all.
constexpr Nanoseconds kMaxStreamTime = 60 * kSecond;
/// The same for streams of old versions while these take three quarters of the memory above which
/// writers wait.
constexpr Nanoseconds kStreamTimeWhenShort = kSecond;
/// Time after its last message in which a client counts as active, and gets heartbeats.
constexpr Nanoseconds kActiveFor = kSecond;

// --- all sessions together
/// Searches of one sweep that are run interleaved, each prefetching while the others run.
constexpr std::uint32_t kMaxSearchBatch = 64;
/// Nearest searches, one after the other, between two looks at the clock.
constexpr std::size_t kNearestBatch = 16;
/// Time that the searches of one sweep may take. Those that are left over wait for the next sweep;
/// then each session has one search run in a sweep, and twice as many in each further sweep that
/// takes less.
constexpr Nanoseconds kSearchTime = 2 * kMillisecond;
/// Time that the slices of one sweep may take; the other streams have theirs in the next one.
constexpr Nanoseconds kSlicesTime = kMillisecond;
/// Bytes of records of requests that come in segments, and are not whole yet, of all clients; a
/// request above it is refused (kUnavailable).
constexpr std::uint64_t kMaxSegmentedBytes = std::uint64_t{64} << 20;
/// Bytes of entries' records that count as one operation more.
constexpr std::uint64_t kRecordBytesOfAnOperation = 256;
/// Bytes of entries' records in the writes of one batch, if these are several.
constexpr std::size_t kMaxCombinedRecordBytes = std::size_t{1} << 20;
/// Operations that may wait for the writer; a request above it is refused (kUnavailable).
constexpr std::uint64_t kMaxQueuedOperations = std::uint64_t{1} << 18;
/// Nodes that an operation may copy or add: they must be free before a batch begins, if waiting for
/// retired memory can free them.
constexpr rtree::NodeCounts kNodesOfAnOperation = {.leaves = 2, .inners = 1};
constexpr rtree::NodeCounts kNodesOfAnUpdate = {.leaves = 4, .inners = 2};  ///< at both places
/// Nodes that a batch may need on top of its operations.
constexpr rtree::NodeCounts kNodesOfABatch = {.leaves = 4, .inners = 12};
/// Pause before memory for a batch is looked for again.
constexpr Nanoseconds kMemoryRetry = 2 * kMillisecond;
/// The part 1/16 of the budget: a compaction goes on when no more is retired and on its way back. A
/// quarter of what makes writers wait.
constexpr std::uint64_t kCompactionShare = 16;

// --- tasks: backups and lists of differences
/// Tasks that run or wait at once; they run one after the other.
constexpr std::uint32_t kMaxTasks = 64;
/// Entries, in leaves that differ, that a diff lists at most.
constexpr std::uint64_t kMaxDiffEntries = std::uint64_t{1} << 18;

// --- durability
/// Part of the log that is used when a checkpoint is taken at once.
constexpr double kLogShareToCheckpoint = 0.5;
/// Interval in which the background thread looks whether a checkpoint is due by time, and in which
/// it repeats one that failed.
constexpr Nanoseconds kCheckpointLooks = kSecond;
/// Pause of a writer that finds the log full.
constexpr Nanoseconds kFullLogWait = kMillisecond;
/// Time without a search after which a worker waits for the flushes of its only client itself.
constexpr Nanoseconds kSearchPause = 10 * kMillisecond;
/// Longest gap between two writes of a client that sends a batch of them.
constexpr Nanoseconds kWriteGap = 3 * kMicrosecond;
constexpr Nanoseconds kMinFlushInterval = 100 * kMicrosecond;
constexpr Nanoseconds kMaxFlushInterval = 10 * kSecond;
constexpr Nanoseconds kMinCheckpointInterval = kSecond;
constexpr Nanoseconds kMaxCheckpointInterval = 24 * 3600 * kSecond;
/// The part 1/8 of the memory budget, which old versions (--retain) may hold: half of what makes
/// writers wait.
constexpr std::uint64_t kHistoryShare = 8;
/// Time between two looks at the old versions of all collections, of which some may be too old.
constexpr Nanoseconds kHistoryTrims = kSecond;
/// Time that an old version is held for a client that reads it one-sidedly, from each request on.
constexpr Nanoseconds kDefaultHoldLease = 2 * kSecond;
constexpr Nanoseconds kMaxRetain = 7 * 24 * 3600 * kSecond;
constexpr std::uint64_t kMinRetainVersions = 8;
constexpr std::uint64_t kDefaultRetainVersions = 256;
constexpr std::uint64_t kMaxRetainVersions = 4096;

// --- a member of a group
/// Longest wait of the group's thread for something to happen.
constexpr Nanoseconds kLongestTurn = 100 * kMillisecond;
/// Time that a starting server waits for etcd, or for the first member of a static group.
constexpr Nanoseconds kFirstAnswerWait = 5 * kSecond;
/// Interval in which writes to a member that was given up are answered.
constexpr Nanoseconds kGivenUpPause = 20 * kMillisecond;
/// Interval in which statistics are brought up to date, if nothing else happens.
constexpr Nanoseconds kMemberStatusInterval = 50 * kMillisecond;
/// Time that writes wait for members to join a group that has too few (--min-members). Then they
/// are refused, and those that are applied are in doubt.
constexpr Nanoseconds kMembersMayJoin = 3 * kSecond;
/// Batches that are logged and not committed yet: one on its way, and the next one right behind it.
constexpr std::size_t kMaxBatchesInFlight = 2;
/// Longest gap between two writes of clients that send a batch of them.
constexpr Nanoseconds kGroupWriteGap = 20 * kMicrosecond;
/// The part 1/4 of a log: it is kept behind the last checkpoint for members that were away, and the
/// next checkpoint is taken when as much was written since.
constexpr std::uint64_t kKeptLogShare = 4;
/// Percent of the log that are kept for a member that joins (JoinPace): its room.
constexpr std::uint64_t kJoinRoomPercent = 75;
/// Part of that room for what is written before the copy of the joining member begins to come.
constexpr double kJoinRoomBeforeCopy = 0.25;
/// Part of that room for the time of the copy. The rest is for the restart with the copy.
constexpr double kJoinRoomOfCopy = 0.5;
/// Part of that room below which writers are slowed.
constexpr double kJoinRoomOfSlowWriters = 0.125;
/// Time for which the room that is left then lasts, at the pace of slowed writers.
constexpr Nanoseconds kJoinRoomLasts = 5 * kSecond;
/// Longest wait of one batch of slowed writers.
constexpr Nanoseconds kLongestJoinWait = kSecond;
constexpr std::uint32_t kMaxShard = 65535;  ///< greatest --shard
constexpr Nanoseconds kMinGroupLease = 100 * kMillisecond;
constexpr Nanoseconds kMaxGroupLease = 60 * kSecond;

// --- being replaced by other servers
/// Longest time for which a coordinator can freeze writes with one request.
constexpr Nanoseconds kMaxFreeze = 60 * kSecond;
constexpr std::size_t kLeavesOfAPage = 128;       ///< leaves in one page of an export
constexpr std::size_t kOperationsOfAPage = 8192;  ///< operations in one page of changes
/// Entries, in leaves that differ, that one list of changes holds at most.
constexpr std::uint64_t kMaxExportedChanges = std::uint64_t{1} << 24;
/// Exports at once, of all clients: each pins a version of a tree, and lists its leaves.
constexpr std::size_t kMaxExports = 16;
/// Time without a request after which an export is given up, since it pins its version of the tree.
constexpr Nanoseconds kMaxExportIdle = 60 * kSecond;

// --- bulk load
/// Part of the memory budget that staged entries may take: the tree that is built of them (at most
/// 60 bytes an entry, against 40 staged) must fit beside them.
constexpr double kLoadStagingShare = 0.4;
/// Entries in one piece of the staging area.
constexpr std::size_t kStagingPieceEntries = std::size_t{1} << 16;
/// Time in which the client of a bulk load sends nothing, after which the load is aborted: it keeps
/// all others from writing.
constexpr Nanoseconds kMaxLoadIdle = 60 * kSecond;

// How they fit together.
static_assert(kMaxCombinedOperations >= kMaxBatchOperations,
              "a request is never split between versions");
static_assert(kMaxQueuedOperations >= 64 * kMaxBatchOperations);
static_assert(kInlineNeighbors <= kMaxK);
static_assert(kMaxQueuedAnswers < protocol::kMaxRequestsInFlight,
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
