// SPDX-License-Identifier: Apache-2.0

#include "bench/model.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "bench/plan.h"
#include "common/random.h"
#include "tests/support/damage.h"
#include "tests/support/seed.h"

namespace silurus::bench {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string text_of(const std::string& name) {
  std::ifstream file(model_path(name));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The lines of a file that set a key, with the key's full name.
struct Setting {
  std::size_t line;
  std::string name;
};
std::vector<Setting> settings(const std::vector<std::string>& lines) {
  std::vector<Setting> found;
  std::string section;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.starts_with("[")) section = line.substr(1, line.find(']') - 1) + ".";
    const auto at = line.find(" = ");
    if (!line.starts_with("#") && at != std::string::npos) {
      found.push_back({i, section + line.substr(0, at)});
    }
  }
  return found;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// As read, whatever of the two it is.
Status parse(const std::string& name, const std::string& text) {
  if (name == "costs") {
    const auto costs = parse_costs(text, "f.toml");
    return costs ? Status{} : Status(fail(costs.error()));
  }
  const auto model = parse_model(text, "f.toml");
  return model ? Status{} : Status(fail(model.error()));
}

const std::vector<std::string> kShipped = {"infiniband-100g", "xstore", "tcp-1g", "tcp-40g",
                                           "costs"};

TEST(PlanModel, EachShippedFileIsRead) {
  for (const auto& entry : fs::directory_iterator(fs::path(model_path("xstore")).parent_path())) {
    const std::string name = entry.path().stem();
    EXPECT_NE(std::find(kShipped.begin(), kShipped.end(), name), kShipped.end()) << name;
  }
  for (const std::string& name : kShipped) {
    const auto read = parse(name, text_of(name));
    EXPECT_TRUE(read.has_value()) << name << ": " << read.error().message;
  }
}

TEST(PlanModel, EachNumberOfAShippedModelStatesItsSource) {
  for (const std::string& name : kShipped) {
    if (name == "costs") continue;  // measured: by the command in its first line
    const auto lines = lines_of(text_of(name));
    for (const Setting& setting : settings(lines)) {
      if (setting.name == "name" || setting.name == "card.one_sided" ||
          setting.name == "card.cards" || setting.name == "cpu.calibrated") {
        continue;
      }
      std::size_t above = setting.line;
      while (above > 0 && !lines[above - 1].empty() && !lines[above - 1].starts_with("#")) --above;
      EXPECT_TRUE(above > 0 && lines[above - 1].starts_with("#")) << name << ": " << setting.name;
    }
  }
}

TEST(PlanModel, WhatIsMissingIsNamed) {
  for (const std::string& name : kShipped) {
    const auto lines = lines_of(text_of(name));
    for (const Setting& setting : settings(lines)) {
      auto without = lines;
      without[setting.line].clear();
      const auto read = parse(name, joined(without));
      ASSERT_FALSE(read.has_value()) << name << ": " << setting.name;
      EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
      EXPECT_THAT(read.error().message, HasSubstr("f.toml"));
      // Without that flag, the numbers of [cpu] are missing too.
      if (setting.name == "cpu.calibrated") continue;
      EXPECT_THAT(read.error().message,
                  AllOf(HasSubstr("'" + setting.name + "' is missing"), HasSubstr("is expected")));
    }
  }
}

TEST(PlanModel, ANumberThatIsNegativeOrNoneIsNamed) {
  for (const std::string& name : kShipped) {
    const auto lines = lines_of(text_of(name));
    for (const Setting& setting : settings(lines)) {
      for (const char* bad : {"-1", "nan", "inf", "1e300", "[1]", "{}", "1979-05-27"}) {
        auto changed = lines;
        const std::string& line = lines[setting.line];
        changed[setting.line] = line.substr(0, line.find(" = ") + 3) + bad;
        const auto read = parse(name, joined(changed));
        ASSERT_FALSE(read.has_value()) << name << ": " << changed[setting.line];
        EXPECT_THAT(read.error().message,
                    AllOf(HasSubstr("f.toml:"), HasSubstr("'" + setting.name + "'")))
            << bad;
      }
    }
  }
}

TEST(PlanModel, AnUnknownKeyIsNamed) {
  const std::string text = text_of("xstore");
  for (const char* line : {"latency = 1", "[disk]\nspeed = 3", "[card.more]\nx = 1"}) {
    const auto read = parse_model(text + "\n" + line + "\n", "f.toml");
    ASSERT_FALSE(read.has_value());
    EXPECT_THAT(read.error().message, AllOf(HasSubstr("f.toml:"), HasSubstr("unknown key")));
  }
}

TEST(PlanModel, WhatIsNoTomlSaysWhere) {
  const auto read = parse_model("name = \n[network", "f.toml");
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(read.error().message, HasSubstr("f.toml:1"));
  const auto missing = read_model("/nowhere/x.toml");
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().message, HasSubstr("/nowhere/x.toml"));
}

TEST(PlanModel, DamagedFilesAreReadOrRefusedByName) {
  Random random(testing_support::seed(1));
  for (int round = 0; round < 2000; ++round) {
    const std::string& name = kShipped[random.below(kShipped.size())];
    const std::string text = testing_support::damaged(random, text_of(name));
    const auto read = parse(name, text);
    if (!read) {
      EXPECT_THAT(read.error().message, HasSubstr("f.toml"));
    }
  }
}

TEST(PlanModel, CostsAreReadBackAsWritten) {
  PlanCosts costs;
  costs.machine = "2 cores of 'x'";
  costs.server.request_ns = 12.5;
  costs.btree.lookup_ns = 644;
  const auto read = parse_costs(costs_toml(costs, "silurus-bench calibrate"), "f.toml");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->machine, costs.machine);
  EXPECT_EQ(read->server.request_ns, 12.5);
  EXPECT_EQ(read->btree.lookup_ns, 644);
}

}  // namespace
}  // namespace silurus::bench
