// SPDX-License-Identifier: Apache-2.0

#include "client/tool/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "client/tool/arguments.h"
#include "client/tool/doctor_facts.h"
#include "client/tool/doctor_findings.h"
#include "protocol/default_url.h"
#include "tests/support/server_process.h"

// `silurus doctor` of machines that are made up: folders with the files that /sys and /proc have.

namespace silurus::tool::doctor {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

class DoctorTest : public testing::Test {
 protected:
  /// A machine of one node with enough of everything, and no card.
  void SetUp() override {
    write("proc/sys/kernel/osrelease", "6.12.3-amd64");
    write("proc/meminfo", "MemTotal:       49368168 kB\nMemAvailable:   47000000 kB\n");
    write("proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units\n"
          "Max open files            20000                524288               files\n"
          "Max locked memory         65536                65536                bytes\n");
    write("proc/self/status", "Name:\tsilurus\nCapEff:\t0000000000000000\n");
    write("proc/self/mountinfo", "25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=24684084k\n");
    write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
    write("sys/kernel/mm/transparent_hugepage/shmem_enabled",
          "always within_size [advise] never deny force");
    write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0");
    node(0, "0-7");
  }

  void write(const std::string& path, const std::string& content) const {
    const std::filesystem::path file(folder_ / path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content << '\n';
  }
  /// `path` leads to the folder `to`, which is made.
  void link(const std::string& path, const std::string& to) const {
    const std::filesystem::path from(folder_ / path);
    std::filesystem::create_directories(from.parent_path());
    std::filesystem::create_directories(folder_ / to);
    std::filesystem::create_directory_symlink(
        std::filesystem::relative(folder_ / to, from.parent_path()), from);
  }
  void node(int number, const std::string& cpus) const {
    const std::string n = std::to_string(number);
    write("sys/devices/system/node/node" + n + "/cpulist", cpus);
    write("sys/devices/system/node/node" + n + "/meminfo", "Node " + n + " MemTotal: 1048576 kB");
  }
  void port(const std::string& number, const std::string& state, const std::string& physical,
            const std::string& gid = "0000:0000:0000:0000:0000:ffff:0a09:0001") const {
    const std::string at = "sys/class/infiniband/mlx5_0/ports/" + number;
    write(at + "/state", state);
    write(at + "/phys_state", physical);
    write(at + "/link_layer", "Ethernet");
    write(at + "/rate", "100 Gb/sec (4X EDR)");
    write(at + "/gids/0", "fe80:0000:0000:0000:5054:00ff:fe00:0101");
    write(at + "/gid_attrs/types/0", "RoCE v2");
    write(at + "/gid_attrs/ndevs/0", "ens1");
    write(at + "/gids/1", gid);
    write(at + "/gid_attrs/types/1", "RoCE v2");
    write(at + "/gid_attrs/ndevs/1", "ens1");
    write(at + "/gids/2", "0000:0000:0000:0000:0000:0000:0000:0000");
  }
  void card() const {
    write("sys/class/infiniband/mlx5_0/device/numa_node", "1");
    write("sys/class/infiniband/mlx5_0/fw_ver", "16.35.2000");
    write("sys/class/net/ens1/mtu", "9000");
    write("dev/infiniband/rdma_cm", "");
    write("dev/infiniband/uverbs0", "");
    port("1", "4: ACTIVE", "5: LinkUp");
  }

  SystemTree tree() const { return SystemTree(folder_ / ""); }
  Findings examine() const {
    const RdmaFacts rdma = read_rdma(tree(), {});
    Findings all = advise_machine(read_machine(tree()), rdma);
    for (const Findings& more :
         {advise_rdma(rdma), advise_persistent_memory(read_persistent_memory(tree()))}) {
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
  Finding finding(const std::string& name) const {
    const Findings all = examine();
    const auto found = std::ranges::find(all, name, &Finding::name);
    EXPECT_NE(found, all.end()) << name;
    return found == all.end() ? Finding{} : *found;
  }
  std::string line(const std::string& name) const { return text_line(finding(name)); }

  testing_support::TemporaryFolder folder_;
};

TEST_F(DoctorTest, AMachineWithoutACardIsWell) {
  EXPECT_THAT(examine(), Each(Field(&Finding::verdict,
                                    testing::AnyOf(Verdict::kOk, Verdict::kNotApplicable))));
  EXPECT_EQ(finding("rdma").verdict, Verdict::kNotApplicable);
  EXPECT_EQ(finding("memlock").verdict, Verdict::kNotApplicable) << "nothing locks memory there";
  EXPECT_EQ(finding("persistent-memory").verdict, Verdict::kNotApplicable);
  EXPECT_EQ(finding("cpu-governor").verdict, Verdict::kNotApplicable);
}

TEST_F(DoctorTest, ACardIsDescribedAndItsAddressesAreNamed) {
  card();
  EXPECT_THAT(line("card mlx5_0"), HasSubstr("firmware 16.35.2000, 1 port, NUMA node 1 - ok"));
  EXPECT_THAT(line("port mlx5_0/1"),
              HasSubstr("ACTIVE (LinkUp), Ethernet, interface ens1, 100 Gb/sec (4X EDR) - ok"));
  EXPECT_THAT(line("gids mlx5_0/1"), HasSubstr("0: fe80::5054:ff:fe00:101 RoCE v2, 1: 10.9.0.1 "
                                               "RoCE v2; --listen rdma://10.9.0.1:PORT - ok"));
  EXPECT_THAT(line("mtu mlx5_0/1"), HasSubstr("4096 (interface 9000) - ok"));
  EXPECT_EQ(finding("rdma-rights").verdict, Verdict::kOk);
}

TEST_F(DoctorTest, APortThatIsDownIsAnErrorUnlessAnotherIsUp) {
  card();
  port("1", "1: DOWN", "2: Polling");
  EXPECT_EQ(finding("port mlx5_0/1").verdict, Verdict::kError);
  EXPECT_THAT(finding("port mlx5_0/1").advice, HasSubstr("ip link set ens1 up"));
  port("2", "4: ACTIVE", "5: LinkUp");
  EXPECT_EQ(finding("port mlx5_0/1").verdict, Verdict::kWarning);
  EXPECT_EQ(finding("port mlx5_0/2").verdict, Verdict::kOk);
}

TEST_F(DoctorTest, APortOfInfinibandWithoutASubnetManagerIsToldSo) {
  card();
  port("1", "2: INIT", "5: LinkUp");
  write("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand");
  EXPECT_THAT(finding("port mlx5_0/1").advice, HasSubstr("opensm"));
}

TEST_F(DoctorTest, APortOfInfinibandHasTheAddressesOfItsInterface) {
  card();
  port("1", "4: ACTIVE", "5: LinkUp", "fe80:0000:0000:0000:0002:c903:00aa:bbcc");
  write("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand");
  write("sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", "");
  write("sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/1", "");
  write("sys/class/infiniband/mlx5_0/device/net/ib0/dev_id", "0x0");
  write("sys/class/net/ib0/mtu", "2044");
  const RdmaFacts facts = read_rdma(tree(), {{"eth0", "192.168.0.1"}, {"ib0", "10.0.0.7"}});
  ASSERT_EQ(facts.cards.size(), 1u);
  EXPECT_THAT(facts.cards[0].ports[0].addresses, ElementsAre("10.0.0.7"));
  EXPECT_THAT(finding("mtu mlx5_0/1").found, HasSubstr("2048"));
  EXPECT_EQ(finding("mtu mlx5_0/1").verdict, Verdict::kWarning);
}

TEST_F(DoctorTest, APortWithoutAnAddressCannotBeChosen) {
  card();
  port("1", "4: ACTIVE", "5: LinkUp", "fe80:0000:0000:0000:5054:00ff:fe00:0102");
  EXPECT_EQ(finding("gids mlx5_0/1").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("gids mlx5_0/1").advice, HasSubstr("ip addr add 10.0.0.1/24 dev ens1"));
}

TEST_F(DoctorTest, AnOrdinaryMtuMakesSmallPackets) {
  card();
  write("sys/class/net/ens1/mtu", "1500");
  EXPECT_THAT(line("mtu mlx5_0/1"), HasSubstr("1024 (interface 1500) - warning: ip link set ens1 "
                                              "mtu 4200"));
}

TEST_F(DoctorTest, TheConnectionManagersModuleMustBeLoaded) {
  card();
  std::filesystem::remove(folder_ / "dev/infiniband/rdma_cm");
  EXPECT_EQ(finding("rdma-rights").verdict, Verdict::kError);
  EXPECT_EQ(finding("rdma-rights").advice, "modprobe rdma_ucm");
}

TEST_F(DoctorTest, LittleLockedMemoryIsAnErrorWhereThereIsACard) {
  card();
  EXPECT_EQ(finding("memlock").verdict, Verdict::kError);
  EXPECT_THAT(finding("memlock").advice, HasSubstr("LimitMEMLOCK=infinity"));
  write("proc/self/limits", "Max locked memory         65536      unlimited            bytes\n");
  EXPECT_THAT(finding("memlock").advice, EndsWith("ulimit -l unlimited"));
  write("proc/self/limits", "Max locked memory         1073741824 1073741824           bytes\n");
  EXPECT_EQ(finding("memlock").verdict, Verdict::kWarning) << "enough for clients";
  EXPECT_THAT(finding("memlock").advice, HasSubstr("--memory 768M"));
  write("proc/self/status", "CapEff:\t0000000000004000\n");
  EXPECT_EQ(finding("memlock").verdict, Verdict::kOk) << "it binds no user that has CAP_IPC_LOCK";
}

TEST_F(DoctorTest, SharedMemoryWithoutHugePagesIsToldWhatToDo) {
  const std::string folder = "sys/kernel/mm/transparent_hugepage/";
  write(folder + "shmem_enabled", "always within_size advise [never] deny force");
  EXPECT_EQ(finding("huge-pages-shared").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("huge-pages-shared").advice, HasSubstr("echo advise >/" + folder));
  EXPECT_THAT(finding("huge-pages-shared").advice, HasSubstr("--huge-pages"));
  write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512");
  EXPECT_EQ(finding("huge-pages-shared").verdict, Verdict::kOk) << "reserved ones are as good";
  EXPECT_THAT(line("huge-pages-reserved"), HasSubstr("512 of 2 MiB, 512 free - ok"));
  write(folder + "enabled", "always madvise [never]");
  EXPECT_THAT(finding("huge-pages-anonymous").advice, "echo madvise >/" + folder + "enabled");
}

TEST_F(DoctorTest, PersistentMemoryOfNvdimmsIsPersistent) {
  const std::string region = "sys/devices/LNXSYSTM:00/ACPI0012:00/ndbus0/region0";
  write(region + "/devtype", "nd_pmem");
  write(region + "/persistence_domain", "memory_controller");
  link("sys/bus/dax/devices/dax0.0", region + "/dax0.1/dax0.0");
  write("sys/bus/dax/devices/dax0.0/size", "536870912");
  write("sys/bus/dax/devices/dax0.0/target_node", "2");
  EXPECT_THAT(line("persistent-memory dax0.0"),
              HasSubstr("persistent: devdax, NVDIMM, persistence domain memory_controller, 512 "
                        "MiB, target node 2; --data /dev/dax0.0 - ok"));
  write(region + "/devtype", "nd_volatile");
  EXPECT_EQ(finding("persistent-memory dax0.0").verdict, Verdict::kWarning);
}

TEST_F(DoctorTest, DevdaxOfOtherMemoryIsVolatile) {
  link("sys/bus/dax/devices/dax0.0", "sys/devices/platform/hmem.0/dax0.0");
  const std::string region = "sys/devices/platform/ACPI0017:00/root0/decoder0.0/region0";
  write(region + "/mode", "ram");
  link("sys/bus/dax/devices/dax1.0", region + "/dax_region0/dax1.0");
  write("sys/bus/dax/devices/dax1.0/target_node", "3");
  link("sys/bus/dax/devices/dax2.0", "sys/devices/platform/e820_pmem/ndbus0/region0/dax2.0");
  link("sys/bus/dax/devices/dax3.0", "sys/devices/platform/something-new/dax3.0");
  for (const char* name : {"dax0.0", "dax1.0", "dax2.0"}) {
    const Finding found = finding(std::string("persistent-memory ") + name);
    EXPECT_EQ(found.verdict, Verdict::kWarning) << name;
    EXPECT_THAT(found.found, testing::StartsWith("volatile")) << name;
    EXPECT_THAT(found.found, Not(HasSubstr("--data")));
    EXPECT_THAT(found.advice, HasSubstr("a power cut takes")) << name;
  }
  EXPECT_THAT(finding("persistent-memory dax1.0").found, HasSubstr("CXL memory"));
  EXPECT_THAT(finding("persistent-memory dax1.0").found, HasSubstr("target node 3"));
  EXPECT_THAT(finding("persistent-memory dax3.0").found, HasSubstr("not known to be persistent"));
  link("sys/bus/dax/devices/dax0.0/driver", "sys/bus/dax/drivers/kmem");
  EXPECT_EQ(finding("persistent-memory dax0.0").verdict, Verdict::kNotApplicable)
      << "the kernel's own";
}

TEST_F(DoctorTest, AFileSystemOnPersistentMemoryMustBeMountedWithDax) {
  link("sys/block/pmem0", "sys/devices/ACPI0012:00/ndbus0/region0/namespace0.0/block/pmem0");
  EXPECT_EQ(finding("persistent-memory pmem0").verdict, Verdict::kNotApplicable) << "not mounted";
  write("proc/self/mountinfo", "36 35 259:0 / /pm rw,relatime shared:1 - ext4 /dev/pmem0 rw");
  EXPECT_THAT(finding("persistent-memory pmem0").advice, HasSubstr("mount -o dax /dev/pmem0 /pm"));
  write("proc/self/mountinfo",
        "36 35 259:0 / /pm rw,relatime shared:1 - ext4 /dev/pmem0 rw,dax=always");
  EXPECT_THAT(line("persistent-memory pmem0"),
              HasSubstr("persistent: fsdax, NVDIMM, ext4 on /pm; --data /pm/DIR - ok"));
}

TEST_F(DoctorTest, AGovernorThatSavesPowerIsNamed) {
  write("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance");
  write("sys/devices/system/cpu/cpufreq/policy0/scaling_driver", "intel_pstate");
  EXPECT_THAT(line("cpu-governor"), HasSubstr("performance (intel_pstate) - ok"));
  write("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave");
  EXPECT_EQ(finding("cpu-governor").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("cpu-governor").advice, HasSubstr("cpupower frequency-set -g performance"));
}

TEST_F(DoctorTest, OfTwoNodesTheCardsIsTheServers) {
  node(1, "8-15");
  EXPECT_THAT(finding("numa").advice, HasSubstr("numactl --cpunodebind=0 --membind=0"));
  card();
  EXPECT_THAT(finding("numa").found, HasSubstr("2 nodes, 0: CPUs 0-7, 1 GiB, 1: CPUs 8-15"));
  EXPECT_THAT(finding("numa").found, HasSubstr("mlx5_0 at node 1"));
  EXPECT_THAT(finding("numa").advice, HasSubstr("numactl --cpunodebind=1 --membind=1"));
  write("proc/sys/kernel/numa_balancing", "1");
  EXPECT_EQ(finding("numa-balancing").advice, "sysctl -w kernel.numa_balancing=0");
}

TEST_F(DoctorTest, AnOldKernelIsToldWhatItLacks) {
  write("proc/sys/kernel/osrelease", "6.1.0-28-amd64");
  EXPECT_EQ(finding("kernel").verdict, Verdict::kOk);
  card();
  std::filesystem::remove_all(folder_ / "sys/class/infiniband/mlx5_0/device");
  EXPECT_EQ(finding("kernel").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("kernel").advice, HasSubstr("FLUSH"));
  write("proc/sys/kernel/osrelease", "6.3.1");
  EXPECT_EQ(finding("kernel").verdict, Verdict::kOk);
  write("proc/sys/kernel/osrelease", "4.19.0");
  EXPECT_EQ(finding("kernel").verdict, Verdict::kError);
}

TEST_F(DoctorTest, FewOpenFilesAreFewClients) {
  write("proc/self/limits", "Max open files            1024                 4096         files\n");
  EXPECT_EQ(finding("open-files").verdict, Verdict::kWarning);
  EXPECT_THAT(finding("open-files").advice, HasSubstr("--max-clients 1024"));
}

TEST_F(DoctorTest, AMachineThatSaysNothingIsNoCrash) {
  std::filesystem::remove_all(folder_ / "sys");
  std::filesystem::remove_all(folder_ / "proc");
  EXPECT_EQ(finding("kernel").verdict, Verdict::kWarning);
  write("proc/meminfo", "MemTotal: lots\nMemAvailable:");
  write("sys/class/infiniband/odd/ports/x/gids/0", "no gid");
  write("proc/self/mountinfo", "- ext4\n\n - \n");
  EXPECT_FALSE(examine().empty());
}

TEST_F(DoctorTest, TheDefaultSocketMustBeThisUsersOwn) {
  const auto look = [&](const std::string& url) {
    return advise_socket(read_socket(tree(), url, false, geteuid()));
  };
  write("run/note", "");
  EXPECT_EQ(look("shm:///run/silurus.sock").verdict, Verdict::kOk) << "none yet";
  EXPECT_EQ(look("shm:///nowhere/silurus.sock").verdict, Verdict::kWarning);
  EXPECT_EQ(look("shm:///run/note").verdict, Verdict::kError) << "no socket";
  EXPECT_EQ(look("tcp://somewhere:1").verdict, Verdict::kOk);
  EXPECT_EQ(look("shm:///run/" + std::string(120, 'x')).verdict, Verdict::kError) << "too long";
  const SocketFacts others{.url = "shm:///run/s",
                           .path = "/run/s",
                           .exists = true,
                           .is_socket = true,
                           .owner = 17,
                           .user = 1000};
  EXPECT_EQ(advise_socket(others).verdict, Verdict::kWarning);
  EXPECT_NE(advise_socket(others).advice.find("shm:///run/s?peer=17"), std::string::npos);
  SocketFacts named = others;
  named.names_owner = true;
  EXPECT_EQ(advise_socket(named).verdict, Verdict::kOk);
  EXPECT_TRUE(read_socket(tree(), "shm:///run/silurus.sock?peer=silurus", false, 1).names_owner);
  EXPECT_EQ(read_socket(tree(), "shm:///run/silurus.sock?peer=x", false, 1).path,
            "/run/silurus.sock");
  std::filesystem::create_directory(folder_ / "tmp");
  EXPECT_EQ(look("shm://" + protocol::temporary_folder(geteuid()) + "/silurus.sock").verdict,
            Verdict::kOk)
      << "the server makes the folder";
}

TEST(DoctorArguments, ACardAndAServerMayBeNamed) {
  const auto plain = parse_arguments({"doctor"});
  ASSERT_TRUE(plain) << plain.error().message;
  ASSERT_TRUE(std::holds_alternative<DoctorCommand>(plain->command));
  EXPECT_EQ(std::get<DoctorCommand>(plain->command).card, "all");
  EXPECT_FALSE(std::get<DoctorCommand>(plain->command).server_is_named);
  const auto given = parse_arguments({"doctor", "--card", "mlx5_0", "-s", "shm:///tmp/s"});
  ASSERT_TRUE(given) << given.error().message;
  EXPECT_EQ(std::get<DoctorCommand>(given->command).card, "mlx5_0");
  EXPECT_TRUE(std::get<DoctorCommand>(given->command).server_is_named);
  EXPECT_FALSE(parse_arguments({"stats", "--card", "all"}));
}

const Findings kFindings = {{"kernel", Verdict::kOk, "6.1", ""},
                            {"numa", Verdict::kWarning, "2 nodes, 0 and 1", "say \"numactl\""},
                            {"rdma", Verdict::kNotApplicable, "none", ""},
                            {"server", Verdict::kError, "gone\nfor ever", "start it"}};

TEST(DoctorReport, EachLineEndsWithOkOrWithWhatToDo) {
  EXPECT_THAT(text_line(kFindings[0]), EndsWith(" 6.1 - ok\n"));
  EXPECT_THAT(text_line(kFindings[1]), EndsWith(" - warning: say \"numactl\"\n"));
  EXPECT_THAT(text_line(kFindings[2]), EndsWith(" none - not applicable\n"));
  EXPECT_THAT(text_line(kFindings[3]), EndsWith(" gone for ever - error: start it\n"));
  EXPECT_EQ(count_errors(kFindings), 1u);
}

TEST(DoctorReport, IsJsonAndCsvToo) {
  const auto parsed = nlohmann::json::parse(as_json(kFindings));
  ASSERT_EQ(parsed.size(), 4u);
  EXPECT_EQ(parsed[1], nlohmann::json({{"name", "numa"},
                                       {"status", "warning"},
                                       {"found", "2 nodes, 0 and 1"},
                                       {"advice", "say \"numactl\""}}));
  EXPECT_EQ(parsed[2]["status"], "not-applicable");
  EXPECT_THAT(as_csv(kFindings), HasSubstr("name,status,found,advice\nkernel,ok,6.1,\n"
                                           "numa,warning,\"2 nodes, 0 and 1\","
                                           "\"say \"\"numactl\"\"\"\n"));
}

}  // namespace
}  // namespace silurus::tool::doctor
