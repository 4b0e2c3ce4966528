// SPDX-License-Identifier: Apache-2.0

#include "common/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace silurus::flags {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<Option> kTable{
    {.name = "memory", .argument = "SIZE", .help = "what it may take", .fallback = "4G"},
    {.name = "listen", .argument = "URL", .help = "where to listen", .repeats = true},
    {.name = "format", .letter = 'f', .argument = "F", .help = "text or json"},
    {.name = "huge-pages", .help = "if there are any"},
    {.name = "k", .argument = "K", .help = "how many"},
    {.name = "help", .letter = 'h', .help = "print this text"}};

Values parsed(const std::vector<std::string>& arguments) {
  auto values = parse(kTable, arguments);
  EXPECT_TRUE(values) << values.error().message;
  return values ? std::move(*values) : Values(kTable);
}

std::string refusal(const std::vector<std::string>& arguments) {
  const auto values = parse(kTable, arguments);
  EXPECT_FALSE(values);
  return values ? "" : values.error().message;
}

TEST(Flags, OptionsStandAnywhereInBothForms) {
  const auto values =
      parsed({"range", "--memory=1G", "-f", "json", "0", "--huge-pages", "-k", "3", "-h"});
  EXPECT_EQ(values.text("memory"), "1G");
  EXPECT_EQ(values.text("k"), "3");
  EXPECT_TRUE(values.has("huge-pages"));
  EXPECT_TRUE(values.has("help"));
  EXPECT_THAT(values.words(), ElementsAre("range", "0"));
}

TEST(Flags, WhatReadsAsANumberIsAWord) {
  EXPECT_THAT(parsed({"-25", "-.5", "-1e-3", "-inf", "-"}).words(),
              ElementsAre("-25", "-.5", "-1e-3", "-inf", "-"));
  EXPECT_EQ(parsed({"-k", "-5"}).text("k"), "-5");
}

TEST(Flags, AfterTwoDashesThereAreOnlyWords) {
  EXPECT_THAT(parsed({"--", "--memory", "--", "-x"}).words(), ElementsAre("--memory", "--", "-x"));
}

TEST(Flags, ValuesAreWholeWhateverIsInThem) {
  const auto values = parsed({"--listen", "tcp://a:1,tcp://b:2", "--listen=", "--format=a=b,c"});
  EXPECT_THAT(values.all("listen"), ElementsAre("tcp://a:1,tcp://b:2", ""));
  EXPECT_EQ(values.text("format"), "a=b,c");
}

TEST(Flags, AFallbackIsTheTextOfWhatIsNotGiven) {
  const auto values = parsed({});
  EXPECT_FALSE(values.has("memory"));
  EXPECT_EQ(values.text("memory"), "4G");
  EXPECT_THAT(values.all("listen"), IsEmpty());
}

TEST(Flags, AnUnknownOptionNamesTheNearest) {
  EXPECT_EQ(refusal({"--memroy", "1G"}), "unknown option --memroy: did you mean --memory?");
  EXPECT_EQ(refusal({"--listn=x"}), "unknown option --listn: did you mean --listen?");
  EXPECT_EQ(refusal({"--mem", "1G"}), "unknown option --mem: did you mean --memory?");
  EXPECT_EQ(refusal({"-help"}).substr(0, 17), "unknown option -e");
  EXPECT_EQ(refusal({"--verbose"}), "unknown option --verbose");
  EXPECT_THAT(refusal({"--x"}), HasSubstr("unknown option --x"));
  EXPECT_THAT(refusal({"-z"}), HasSubstr("unknown option -z"));
}

TEST(Flags, TheLastValueCountsUnlessTheOptionRepeats) {
  EXPECT_EQ(parsed({"--memory", "1G", "--memory=2G"}).text("memory"), "2G");
  EXPECT_FALSE(parsed({"--huge-pages", "--huge-pages=false"}).has("huge-pages"));
  EXPECT_THAT(parsed({"--listen", "a", "--listen", "b"}).all("listen"), ElementsAre("a", "b"));
}

TEST(Flags, AMissingValueNamesTheOption) {
  EXPECT_EQ(refusal({"--memory"}), "--memory needs a value");
  EXPECT_EQ(refusal({"x", "-f"}), "-f needs a value");
}

TEST(Flags, ASwitchMayBeTurnedOff) {
  EXPECT_FALSE(parsed({"--huge-pages=false"}).has("huge-pages"));
  EXPECT_THAT(refusal({"--huge-pages=maybe"}), HasSubstr("neither true nor false"));
}

TEST(Flags, TheCommandLineBeatsAnotherSource) {
  Values file(kTable);
  ASSERT_TRUE(file.give("memory", "1G", "a.toml:1: memory"));
  ASSERT_TRUE(file.give("huge-pages", "true", "a.toml:2: huge-pages"));
  ASSERT_TRUE(file.give("listen", "shm:///a", "a.toml:3: listen"));
  auto values = parsed({"--memory", "2G", "--huge-pages=false"});
  values.complete(file);
  EXPECT_EQ(values.text("memory"), "2G");
  EXPECT_FALSE(values.has("huge-pages"));
  EXPECT_THAT(values.all("listen"), ElementsAre("shm:///a"));
  EXPECT_EQ(values.place("listen"), "a.toml:3: listen");
  EXPECT_EQ(values.place("memory"), "--memory");
}

TEST(Flags, TheReaderRemembersTheFirstErrorAndWhereItIs) {
  Values values(kTable);
  ASSERT_TRUE(values.give("memory", "lots", "a.toml:1: memory"));
  ASSERT_TRUE(values.give("k", "0", "-k"));
  Reader reader(values);
  std::uint64_t memory = 7;
  unsigned k = 1;
  reader.size("memory", memory);
  reader.number("k", 1, 10, k);
  ASSERT_FALSE(reader.status());
  EXPECT_THAT(reader.status().error().message, HasSubstr("a.toml:1: memory: 'lots' is not a size"));
  EXPECT_EQ(memory, 7u);
}

TEST(Flags, TheReaderTakesNumbersNamesAndFallbacks) {
  enum class Format { kText, kJson };
  constexpr Names<Format, 2> kFormats{{{"text", Format::kText}, {"json", Format::kJson}}};
  const auto values = parsed({"-k", "10", "-f", "json"});
  Reader reader(values);
  Format format = Format::kText;
  unsigned k = 1;
  std::uint64_t memory = 0;
  reader.one_of("format", kFormats, format);
  reader.number("k", 1, 10, k);
  reader.size("memory", memory);
  ASSERT_TRUE(reader.status());
  EXPECT_EQ(format, Format::kJson);
  EXPECT_EQ(k, 10u);
  EXPECT_EQ(memory, std::uint64_t{4} << 30);
  EXPECT_EQ(parse_name("xml", kFormats).error().message, "'xml' is none of text, json");
}

TEST(Flags, TheHelpListsFormsDefaultsAndWraps) {
  EXPECT_EQ(describe(kTable),
            "      --memory SIZE         what it may take (default: 4G)\n"
            "      --listen URL          where to listen\n"
            "  -f, --format F            text or json\n"
            "      --huge-pages          if there are any\n"
            "  -k K                      how many\n"
            "  -h, --help                print this text\n");
  const std::vector<Option> wordy{{.name = "an-option-with-a-long-name",
                                   .argument = "VALUE",
                                   .help = std::string(50, 'a') + " " + std::string(50, 'b')}};
  const std::string column(28, ' ');
  EXPECT_EQ(describe(wordy), "      --an-option-with-a-long-name VALUE\n" + column +
                                 std::string(50, 'a') + "\n" + column + std::string(50, 'b') +
                                 "\n");
}

}  // namespace
}  // namespace silurus::flags
