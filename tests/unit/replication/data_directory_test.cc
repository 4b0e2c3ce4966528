// SPDX-License-Identifier: Apache-2.0

#include "replication/data_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "replication/store.h"
#include "tests/support/log_insert.h"

namespace silurus::replication {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTreeBytes = std::uint64_t{8} << 20;
constexpr DirectoryOptions kOptions{.log_bytes = kMinLogBytes, .tree_bytes = kTreeBytes};

class DataDirectoryTest : public testing::Test {
 protected:
  DataDirectoryTest() {
    const char* shm = fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    std::string name = std::string(shm) + "/silurus-test-XXXXXX";
    parent_ = ::mkdtemp(name.data());
    path_ = parent_ + "/data";
  }
  ~DataDirectoryTest() override { fs::remove_all(parent_); }

  struct Tree2 {
    DirectoryLock lock;
    Store<2>::Opened opened;
  };
  Result<Tree2> open() {
    auto directory = open_directory<2>(path_, kOptions);
    if (!directory) return fail(directory.error());
    auto opened =
        Store<2>::open(std::move(directory->volume),
                       {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_}, {.threads = 1}, 1, 2);
    if (!opened) return fail(opened.error());
    return Tree2{std::move(directory->lock), std::move(*opened)};
  }

  static void insert(Tree2& tree, std::uint64_t id) {
    const rtree::Box<2> box = {{0, 0}, {1, 1}};
    ASSERT_TRUE(tree.opened.tree->insert({id, box}));
    Log& log = tree.opened.store->log();
    ASSERT_TRUE(testing_support::log_insert<2>(log, id, box));
    ASSERT_TRUE(log.commit());
    tree.opened.tree->publish();
  }

  static void checkpoint(Tree2& tree) {
    const auto snapshot = tree.opened.tree->snapshot();
    ASSERT_TRUE(tree.opened.store->checkpoint(*tree.opened.tree,
                                              only_tree(*tree.opened.tree, snapshot.root().ref),
                                              tree.opened.store->log().end(), 1));
  }

  /// A store with two entries in its checkpoint and two more in its log.
  void make_store() {
    auto tree = open();
    ASSERT_TRUE(tree) << tree.error().message;
    insert(*tree, 1);
    insert(*tree, 2);
    checkpoint(*tree);
    insert(*tree, 3);
    insert(*tree, 4);
  }

  /// The same in one file.
  void make_device() {
    path_ = parent_ + "/device";
    std::ofstream(path_).close();
    fs::resize_file(path_, 64 << 20);
    make_store();
  }

  std::string of(const char* name) const { return path_ + "/" + name; }

  static void patch(const std::string& file, std::uint64_t offset, const void* bytes,
                    std::size_t size) {
    const int fd = ::open(file.c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::pwrite(fd, bytes, size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    ::close(fd);
  }
  static std::uint8_t byte_at(const std::string& file, std::uint64_t offset) {
    std::uint8_t byte = 0;
    const int fd = ::open(file.c_str(), O_RDONLY);
    EXPECT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(offset)), 1);
    ::close(fd);
    return byte;
  }

  void expect_refused(ErrorCode code, const std::string& text) {
    const auto tree = open();
    ASSERT_FALSE(tree) << "opened with " << tree->opened.tree->snapshot().size() << " entries";
    EXPECT_EQ(tree.error().code, code) << tree.error().message;
    EXPECT_NE(tree.error().message.find(text), std::string::npos) << tree.error().message;
  }

  std::string parent_;
  std::string path_;
  rtree::AnonymousSlabs slabs_;
  SystemClock clock_;
};

TEST_F(DataDirectoryTest, IsMadeEmptyWhenItIsNotThere) {
  const auto tree = open();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->opened.tree->snapshot().size(), 0u);
}

TEST_F(DataDirectoryTest, GivesBackItsCheckpointAndItsLog) {
  make_store();
  const auto tree = open();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->opened.tree->snapshot().size(), 4u);
  EXPECT_EQ(tree->opened.tree->snapshot().version(), 5u);
  EXPECT_EQ(tree->opened.report.checkpoint_version, 3u);
  EXPECT_EQ(tree->opened.report.records, 2u);
}

TEST_F(DataDirectoryTest, MayBeOneFileAsADeviceIs) {
  make_device();
  const auto tree = open();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->opened.tree->snapshot().size(), 4u);
}

TEST_F(DataDirectoryTest, MayBeOneFileOnADisk) {
  fs::remove_all(parent_);
  std::string name = "/tmp/silurus-test-XXXXXX";  // in memory on some machines
  parent_ = ::mkdtemp(name.data());
  make_device();
  const auto tree = open();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->opened.tree->snapshot().size(), 4u);
  EXPECT_EQ(tree->opened.report.checkpoint_version, 3u);
}

TEST_F(DataDirectoryTest, RefusesADeviceThatIsTooSmall) {
  path_ = parent_ + "/device";
  std::ofstream(path_).close();
  fs::resize_file(path_, 1 << 20);
  const auto opened = open_directory<2>(path_, {.log_bytes = kMinLogBytes, .read_only = true});
  ASSERT_FALSE(opened);
}

TEST_F(DataDirectoryTest, LeavesAFileOfSomethingElseAsItIs) {
  path_ = parent_ + "/letter";
  for (const std::string& text : {std::string("Dear reader,\n"), std::string(5'000, '\0') + "!"}) {
    std::ofstream(path_, std::ios::binary) << text;
    expect_refused(ErrorCode::kConflict, "something else");
    std::ifstream file(path_, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(content, text);
  }
}

TEST_F(DataDirectoryTest, LeavesADeviceThatWasCutShortAsItIs) {
  make_device();
  fs::resize_file(path_, 1 << 20);
  expect_refused(ErrorCode::kProtocol, "cut short");
  EXPECT_EQ(fs::file_size(path_), 1u << 20);
}

TEST_F(DataDirectoryTest, RefusesADeviceThatWasCutShortInItsLastPart) {
  make_device();
  fs::resize_file(path_, 48 << 20);
  expect_refused(ErrorCode::kProtocol, "smaller than when it was made");
  EXPECT_EQ(fs::file_size(path_), 48u << 20);
}

TEST_F(DataDirectoryTest, OfAMemberIsOpenedByItsGroupAlone) {
  const auto opened_as = [&](std::optional<MemberStore> member) {
    DirectoryOptions options = kOptions;
    options.member = std::move(member);
    return open_directory<2>(path_, options);
  };
  const auto expect_conflict = [&](const std::optional<MemberStore>& member) {
    const auto opened = opened_as(member);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kConflict) << opened.error().message;
    EXPECT_NE(opened.error().message.find("holds the tree of"), std::string::npos)
        << opened.error().message;
  };
  const MemberStore ours{.cluster = "fish", .shard = 3, .log_chain = 5};
  ASSERT_TRUE(opened_as(ours));
  expect_conflict(MemberStore{.cluster = "fish", .shard = 2, .log_chain = 5});
  expect_conflict(MemberStore{.cluster = "bird", .shard = 3, .log_chain = 5});
  expect_conflict(std::nullopt);
  EXPECT_TRUE(opened_as(ours));
  fs::remove_all(path_);
  make_store();
  expect_conflict(ours);
  EXPECT_TRUE(opened_as(std::nullopt));
}

TEST_F(DataDirectoryTest, CountsEachBatchOfALongLogOnce) {
  constexpr std::uint64_t kBatches = 3'000;  // more than are replayed in one go
  {
    auto tree = open();
    ASSERT_TRUE(tree) << tree.error().message;
    for (std::uint64_t id = 1; id <= kBatches; ++id) insert(*tree, id);
    ASSERT_EQ(tree->opened.tree->snapshot().version(), kBatches + 1);
  }
  const auto tree = open();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->opened.report.batches, kBatches);
  EXPECT_EQ(tree->opened.tree->snapshot().version(), kBatches + 1);
  EXPECT_EQ(tree->opened.tree->snapshot().size(), kBatches);
}

TEST_F(DataDirectoryTest, IsHeldThoughItsLockFileIsDeleted) {
  make_store();
  const auto first = open();
  ASSERT_TRUE(first);
  fs::remove(of("lock"));
  expect_refused(ErrorCode::kConflict, "in use");
}

TEST_F(DataDirectoryTest, ServesARootThatWasCutShortAsLittleAsItChecksIt) {
  make_store();
  const std::uint64_t whole = fs::file_size(of("root"));
  for (const std::uint64_t size : {whole - 1, whole / 2, std::uint64_t{1} << 20}) {
    fs::resize_file(of("root"), size);
    expect_refused(ErrorCode::kProtocol, "cut short");
    EXPECT_EQ(fs::file_size(of("root")), size);
    const auto checked = open_directory<2>(path_, {.log_bytes = kMinLogBytes, .read_only = true});
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, ErrorCode::kProtocol);
  }
}

TEST_F(DataDirectoryTest, IsHeldByOneServerAtATime) {
  make_store();
  const auto first = open();
  ASSERT_TRUE(first);
  expect_refused(ErrorCode::kConflict,
                 "in use by another server, process " + std::to_string(::getpid()));
}

TEST_F(DataDirectoryTest, RefusesAnotherDimension) {
  make_store();
  const auto directory = open_directory<3>(path_, kOptions);
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(directory.error().message.find("2 dimensions, not 3"), std::string::npos);
}

TEST_F(DataDirectoryTest, RefusesALaterVersion) {
  make_store();
  const std::uint32_t later = kStoreFormat + 1;
  patch(of("root"), offsetof(Superblock, format), &later, sizeof later);
  expect_refused(ErrorCode::kUnsupported, "written by a later Silurus");
}

TEST_F(DataDirectoryTest, RefusesAnotherByteOrder) {
  make_store();
  const std::uint32_t swapped = __builtin_bswap32(kByteOrderMark);
  patch(of("root"), offsetof(Superblock, byte_order), &swapped, sizeof swapped);
  expect_refused(ErrorCode::kUnsupported, "other byte order");
}

TEST_F(DataDirectoryTest, RefusesADirectoryOfSomethingElse) {
  fs::create_directory(path_);
  std::ofstream(of("holiday.jpg")) << "sand";
  expect_refused(ErrorCode::kConflict, "not empty");
}

TEST_F(DataDirectoryTest, SaysWhichFileIsMissing) {
  for (const char* name : {"root", "log", "nodes.0", "nodes.1"}) {
    fs::remove_all(path_);
    make_store();
    fs::remove(of(name));
    expect_refused(std::strcmp(name, "root") == 0 ? ErrorCode::kProtocol : ErrorCode::kNotFound,
                   of(name) + " is missing");
  }
}

TEST_F(DataDirectoryTest, DoesNotTakeALostRootForANewStore) {
  make_store();
  fs::resize_file(of("root"), 0);
  expect_refused(ErrorCode::kProtocol, "root");
  fs::resize_file(of("root"), 1 << 20);
  expect_refused(ErrorCode::kProtocol, "root");
}

TEST_F(DataDirectoryTest, RefusesFilesThatWereCutShort) {
  for (const char* name : {"log", "nodes.0"}) {
    fs::remove_all(path_);
    make_store();
    fs::resize_file(of(name), 64);
    EXPECT_FALSE(open()) << name;
  }
}

/// Flips every byte of the superblock and of the roots: the same tree, or a clear error.
TEST_F(DataDirectoryTest, IsNeverWrongWhateverByteOfItsRootIsHit) {
  make_store();
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t at = 0; at < sizeof(Superblock); ++at) offsets.push_back(at);
  for (std::uint64_t sequence = 0; sequence < 2; ++sequence) {
    for (std::uint64_t copy = 0; copy < 2; ++copy) {
      // With what lies behind it.
      for (std::uint64_t at = 0; at < sizeof(RootRecord) + 128; at += 4) {
        offsets.push_back(root_offset(sequence, copy) + at);
      }
    }
  }
  for (const std::uint64_t offset : offsets) {
    const auto hit = static_cast<std::uint8_t>(byte_at(of("root"), offset) ^ 0x55);
    const auto was = byte_at(of("root"), offset);
    patch(of("root"), offset, &hit, 1);
    auto directory = open_directory<2>(path_, {.read_only = true});
    if (directory) {
      auto recovered = recover<2>(
          directory->volume, {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_}, {.threads = 1});
      if (recovered) {
        EXPECT_EQ(recovered->collections->first().snapshot().size(), 4u) << "offset " << offset;
        EXPECT_EQ(recovered->report.version, 5u) << "offset " << offset;
      }
    }
    patch(of("root"), offset, &was, 1);
  }
}

/// Flips every byte of the last records and cuts the log off before it: what is recovered is what
/// was there after some batch, none but the last flush is given up without saying so.
TEST_F(DataDirectoryTest, IsNeverWrongWhateverByteOfItsLastRecordsIsHit) {
  make_store();
  Lsn end = 0;
  {
    auto tree = open();
    ASSERT_TRUE(tree) << tree.error().message;
    insert(*tree, 5);
    insert(*tree, 6);
    end = tree->opened.store->log().end().lsn;
  }
  constexpr std::uint64_t kRecordBytes = sizeof(RecordHeader) + sizeof(EntryPayload<2>);
  const auto recovered = [&](std::uint64_t at, const std::string& how) {
    auto directory = open_directory<2>(path_, {.read_only = true});
    ASSERT_TRUE(directory) << directory.error().message;
    const auto tree = recover<2>(
        directory->volume, {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_}, {.threads = 1});
    if (!tree) {
      EXPECT_EQ(tree.error().code, ErrorCode::kProtocol) << tree.error().message;
      return;
    }
    const auto snapshot = tree->collections->first().snapshot();
    EXPECT_TRUE(snapshot.validate());
    const bool hits_last_checksum = at / 8 == (end - 2 * kRecordBytes) / 8;
    EXPECT_EQ(snapshot.size(), hits_last_checksum ? 4u : 5u) << how << " byte " << at;
    rtree::RangeResult<2> found;
    ASSERT_TRUE(snapshot.range({.window = {{0, 0}, {1, 1}}}, found));
    for (const std::uint64_t id : found.ids) EXPECT_TRUE(id >= 1 && id <= 5) << id;
  };
  for (std::uint64_t at = end - 3 * kRecordBytes; at < end; ++at) {
    std::vector<std::uint8_t> rest;
    for (std::uint64_t i = at; i < end; ++i) rest.push_back(byte_at(of("log"), i));
    const auto hit = static_cast<std::uint8_t>(rest[0] ^ 0x55);
    patch(of("log"), at, &hit, 1);
    recovered(at, "flipped");
    const std::vector<std::uint8_t> zeros(rest.size());
    patch(of("log"), at, zeros.data(), zeros.size());
    // What is cut off from the middle of a batch on can't be told from a torn one.
    if (end - at <= kRecordBytes && rest != zeros) recovered(at, "cut off before");
    patch(of("log"), at, rest.data(), rest.size());
  }
}

TEST_F(DataDirectoryTest, RefusesACheckpointWithADamagedNode) {
  make_store();
  // The node of the checkpoint is the only leaf: hit wherever it lies.
  for (const char* name : {"nodes.0", "nodes.1"}) {
    for (std::uint64_t at = 0; at + rtree::kChunkBytes<2> <= fs::file_size(of(name));
         at += rtree::kChunkBytes<2>) {
      const std::uint8_t byte = byte_at(of(name), at + 16) ^ 1;
      patch(of(name), at + 16, &byte, 1);
    }
  }
  expect_refused(ErrorCode::kProtocol, "is missing or damaged: restore a backup");
}

/// Runs something in a child and returns its exit status.
template <typename F>
int in_child(F&& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST_F(DataDirectoryTest, SaysThatItMayNotBeWritten) {
  make_store();
  for (const std::string& directory : {parent_, path_}) {
    fs::permissions(directory, fs::perms::owner_all | fs::perms::group_exec |
                                   fs::perms::others_exec | fs::perms::others_read);
  }
  const int status = in_child([&] {
    if (::geteuid() == 0 && ::setuid(65534) != 0) return 2;
    if (::geteuid() != 65534) {
      for (const auto& entry : fs::directory_iterator(path_)) {
        fs::permissions(entry.path(), fs::perms::owner_read);
      }
    }
    const auto tree = open();
    return !tree && tree.error().code == ErrorCode::kPermission ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(DataDirectoryTest, SaysThatTheDiskIsFull) {
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{kMinLogBytes / 2, kMinLogBytes / 2};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto tree = open();
    return !tree && tree.error().message.find("too large") != std::string::npos &&
                   tree.error().code == ErrorCode::kNoSpace
               ? 0
               : 1;
  });
  EXPECT_EQ(status, 0);
  // And once there is room, the directory that was begun is a new one.
  EXPECT_TRUE(open());
}

}  // namespace
}  // namespace silurus::replication
