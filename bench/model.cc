// SPDX-License-Identifier: Apache-2.0

#include "bench/model.h"

#include <stdexcept>

// An assertion of the library (3.3) fails for some damaged files: to us that is an error like any
// other.
#define TOML_ASSERT(condition) \
  static_cast<void>((condition) ? 0 : throw std::runtime_error("not TOML"))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wterminate"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

#include "bench/file.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 16;

/// A number of a file: where it is, where it goes, what it may be.
struct Number {
  const char* section;
  const char* key;
  double* value;
  double low = 0;
  double high = 1e15;
};
struct Flag {
  const char* section;
  const char* key;
  bool* value;
};
struct Text {
  const char* section;
  const char* key;
  std::string* value;
};

/// All that a file may hold. Everything in it is required.
struct Form {
  std::vector<Number> numbers;
  std::vector<Flag> flags;
  std::vector<Text> texts;
};

std::string full_name(const char* section, const char* key) {
  return *section == '\0' ? key : std::string(section) + "." + key;
}

std::string place(const std::string& source, const toml::node& node) {
  const auto line = node.source().begin.line;
  return line == 0 ? source : source + ":" + std::to_string(line);
}

std::string plain(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string expected(const Number& number) {
  return "a number from " + plain(number.low) + " to " + plain(number.high);
}

/// The node under that name, or an error that says what is expected there.
Result<const toml::node*> find(const toml::table& table, const char* section, const char* key,
                               const std::string& source, const std::string& what) {
  const toml::table* in = &table;
  if (*section != '\0') {
    const toml::node* found = table.get(section);
    if (found != nullptr && !found->is_table()) {
      return fail(ErrorCode::kInvalidArgument,
                  place(source, *found) + ": '" + section + "' is not a table of numbers");
    }
    in = found == nullptr ? nullptr : found->as_table();
  }
  const toml::node* node = in == nullptr ? nullptr : in->get(key);
  if (node == nullptr) {
    return fail(ErrorCode::kInvalidArgument, source + ": '" + full_name(section, key) +
                                                 "' is missing: " + what + " is expected");
  }
  return node;
}

Status read_number(const toml::table& table, const Number& number, const std::string& source) {
  const auto node = find(table, number.section, number.key, source, expected(number));
  if (!node) return fail(node.error());
  const double value = (*node)->template value_or<double>(std::nan(""));
  const std::string name = "'" + full_name(number.section, number.key) + "'";
  if (!(*node)->is_number()) {
    return fail(ErrorCode::kInvalidArgument,
                place(source, **node) + ": " + name + " is not " + expected(number));
  }
  if (!std::isfinite(value) || value < number.low || value > number.high) {
    return fail(ErrorCode::kInvalidArgument, place(source, **node) + ": " + name + " is " +
                                                 plain(value) + ": " + expected(number) +
                                                 " is expected");
  }
  *number.value = value;
  return {};
}

template <typename Value, typename Field>
Status read_other(const toml::table& table, const Field& field, const std::string& source,
                  const std::string& what) {
  const auto node = find(table, field.section, field.key, source, what);
  if (!node) return fail(node.error());
  const auto value = (*node)->template value_exact<Value>();
  if (!value) {
    return fail(
        ErrorCode::kInvalidArgument,
        place(source, **node) + ": '" + full_name(field.section, field.key) + "' is not " + what);
  }
  *field.value = *value;
  return {};
}

bool knows(const Form& form, std::string_view section, std::string_view key) {
  const auto is_it = [&](const auto& field) {
    return section == field.section && key == field.key;
  };
  return std::any_of(form.numbers.begin(), form.numbers.end(), is_it) ||
         std::any_of(form.flags.begin(), form.flags.end(), is_it) ||
         std::any_of(form.texts.begin(), form.texts.end(), is_it);
}

Status refuse_unknown(const toml::table& table, const Form& form, const std::string& section,
                      const std::string& source) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (section.empty() && node.is_table()) {
      if (auto ok = refuse_unknown(*node.as_table(), form, name, source); !ok) return ok;
    } else if (!knows(form, section, name)) {
      const std::string full = section.empty() ? name : section + "." + name;
      return fail(ErrorCode::kInvalidArgument,
                  place(source, node) + ": unknown key '" + full + "'");
    }
  }
  return {};
}

/// Reads a text, in which whatever the library throws becomes an error.
template <typename Read>
Status guarded(const std::string& source, const Read& read) {
  try {
    return read();
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::kProtocol, source + ":" + std::to_string(error.source().begin.line) +
                                          ": " + std::string(error.description()));
  } catch (const std::exception& error) {
    return fail(ErrorCode::kProtocol, source + ": " + error.what());
  }
}

Status read_form(const toml::table& table, const std::string& source, const Form& form) {
  if (auto ok = refuse_unknown(table, form, "", source); !ok) return ok;
  for (const Text& field : form.texts) {
    if (auto ok = read_other<std::string>(table, field, source, "a text"); !ok) return ok;
  }
  for (const Flag& field : form.flags) {
    if (auto ok = read_other<bool>(table, field, source, "true or false"); !ok) return ok;
  }
  for (const Number& number : form.numbers) {
    if (auto ok = read_number(table, number, source); !ok) return ok;
  }
  return {};
}

Form form_of(PlanModel& m, bool with_cpu) {
  Form form;
  form.texts = {{"", "name", &m.name}};
  form.flags = {{"card", "one_sided", &m.card.one_sided}, {"cpu", "calibrated", &m.cpu.calibrated}};
  form.numbers = {
      {"network", "bytes_per_second", &m.network.bytes_per_second, 1e3, 1e13},
      {"network", "one_way_us", &m.network.one_way_us, 0, 1e6},
      {"network", "packet_bytes", &m.network.packet_bytes, 64, 1e6},
      {"network", "packet_overhead_bytes", &m.network.packet_overhead_bytes, 0, 1e4},
      {"card", "cards", &m.card.cards, 1, 64},
      {"card", "reads_per_second", &m.card.reads_per_second, 1, 1e10},
      {"card", "messages_per_second", &m.card.messages_per_second, 1, 1e10},
      {"card", "read_us", &m.card.read_us, 0, 1e6},
      {"host", "server_cores", &m.host.server_cores, 1, 1024},
      {"host", "core_speed", &m.host.core_speed, 0.01, 100},
  };
  if (!with_cpu) return form;
  for (const Number& number : {
           Number{"cpu", "send_ns", &m.cpu.send_ns, 0, 1e6},
           Number{"cpu", "receive_ns", &m.cpu.receive_ns, 0, 1e6},
           Number{"cpu", "byte_ns", &m.cpu.byte_ns, 0, 1e3},
           Number{"cpu", "doorbell_ns", &m.cpu.doorbell_ns, 0, 1e6},
           Number{"cpu", "post_read_ns", &m.cpu.post_read_ns, 0, 1e6},
           Number{"cpu", "complete_read_ns", &m.cpu.complete_read_ns, 0, 1e6},
       }) {
    form.numbers.push_back(number);
  }
  return form;
}

Form form_of(PlanCosts& c) {
  Form form;
  form.texts = {{"", "machine", &c.machine}};
  const auto add = [&](const char* section, const char* key, double& value) {
    form.numbers.push_back({section, key, &value, 0, 1e9});
  };
  add("server", "sweep_ns", c.server.sweep_ns);
  add("server", "request_ns", c.server.request_ns);
  add("server", "result_ns", c.server.result_ns);
  add("server", "write_ns", c.server.write_ns);
  for (const auto& [section, search] :
       {std::pair{"search", &c.search}, {"interleaved", &c.interleaved}, {"offload", &c.offload}}) {
    add(section, "search_ns", search->search_ns);
    add(section, "leaf_ns", search->leaf_ns);
    add(section, "result_ns", search->result_ns);
  }
  add("writer", "operation_ns", c.writer.operation_ns);
  add("writer", "publish_ns", c.writer.publish_ns);
  add("client", "request_ns", c.client.request_ns);
  add("client", "result_ns", c.client.result_ns);
  add("tcp", "send_ns", c.tcp.send_ns);
  add("tcp", "receive_ns", c.tcp.receive_ns);
  add("tcp", "byte_ns", c.tcp.byte_ns);
  add("btree", "lookup_ns", c.btree.lookup_ns);
  add("btree", "node_ns", c.btree.node_ns);
  return form;
}

}  // namespace

Result<PlanModel> parse_model(std::string_view text, const std::string& source) {
  PlanModel model;
  const Status read = guarded(source, [&]() -> Status {
    const toml::table table = toml::parse(text, source);
    // Whether the numbers of [cpu] are wanted depends on a flag beside them.
    const bool calibrated = table["cpu"]["calibrated"].value_exact<bool>().value_or(false);
    return read_form(table, source, form_of(model, !calibrated));
  });
  if (!read) return fail(read.error());
  return model;
}

Result<PlanCosts> parse_costs(std::string_view text, const std::string& source) {
  PlanCosts costs;
  const Status read =
      guarded(source, [&] { return read_form(toml::parse(text, source), source, form_of(costs)); });
  if (!read) return fail(read.error());
  return costs;
}

Result<PlanModel> read_model(const std::string& path) {
  const auto text = read_file(path, kMaxFileBytes);
  if (!text) return fail(text.error());
  return parse_model(*text, path);
}

Result<PlanCosts> read_costs(const std::string& path) {
  const auto text = read_file(path, kMaxFileBytes);
  if (!text) return fail(text.error());
  return parse_costs(*text, path);
}

std::string costs_toml(const PlanCosts& costs, const std::string& command) {
  PlanCosts copy = costs;
  const Form form = form_of(copy);
  std::ostringstream out;
  out << "# Costs of one core, in nanoseconds, as measured by: " << command << "\n";
  out << toml::table{{"machine", costs.machine}} << "\n";
  const char* section = "";
  for (const Number& number : form.numbers) {
    if (std::string_view(section) != number.section) {
      section = number.section;
      out << "\n[" << section << "]\n";
    }
    char text[32];
    std::snprintf(text, sizeof text, "%.4f", *number.value);
    out << number.key << " = " << text << "\n";
  }
  return out.str();
}

}  // namespace silurus::bench
