// SPDX-License-Identifier: Apache-2.0

#include "geometry/where.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace silurus::geometry {

using WhereLiteral = nlohmann::json;
struct WhereName {
  std::string text;
};
using WhereValue = std::variant<WhereLiteral, WhereName>;

enum class WhereOp : std::uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

namespace {

/// A condition's; nothing where it is unknown.
using Truth = std::optional<bool>;

bool holds(WhereOp op, int order) {
  switch (op) {
    case WhereOp::kEqual:
      return order == 0;
    case WhereOp::kNotEqual:
      return order != 0;
    case WhereOp::kLess:
      return order < 0;
    case WhereOp::kLessEqual:
      return order <= 0;
    case WhereOp::kGreater:
      return order > 0;
    case WhereOp::kGreaterEqual:
      return order >= 0;
  }
  return false;
}

template <typename T>
int order_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

Truth compare(WhereOp op, const nlohmann::json& a, const nlohmann::json& b) {
  if (a.is_null() || b.is_null()) return std::nullopt;
  if (a.is_number() && b.is_number()) {
    // long double holds every number of either kind (64 bits of mantissa)
    return holds(op, order_of(a.get<long double>(), b.get<long double>()));
  }
  if (a.is_string() && b.is_string()) {
    const auto& left = a.get_ref<const std::string&>();
    return holds(op, left.compare(b.get_ref<const std::string&>()));
  }
  if (a.is_boolean() && b.is_boolean() && (op == WhereOp::kEqual || op == WhereOp::kNotEqual)) {
    return holds(op, order_of(a.get<bool>(), b.get<bool>()));
  }
  return false;
}

const nlohmann::json& value_in(const WhereValue& value, const nlohmann::json& properties) {
  static const nlohmann::json kNull;
  if (const auto* literal = std::get_if<WhereLiteral>(&value)) return *literal;
  const auto found = properties.find(std::get<WhereName>(value).text);
  return found == properties.end() ? kNull : *found;
}

}  // namespace

struct Where::Node {
  enum Kind : std::uint8_t { kAnd, kOr, kNot, kCompare, kIn, kIsNull };

  Kind kind = kAnd;
  WhereOp op = WhereOp::kEqual;
  std::vector<WhereValue> values;  // two of kCompare; of kIn what is looked for, then the list
  std::vector<Node> children;

  Truth truth(const nlohmann::json& properties) const {
    switch (kind) {
      case kAnd:
        return all_or_any(properties, false);
      case kOr:
        return all_or_any(properties, true);
      case kNot: {
        const Truth truth = children.front().truth(properties);
        return truth ? Truth(!*truth) : truth;
      }
      case kCompare:
        return compare(op, value_in(values[0], properties), value_in(values[1], properties));
      case kIn: {
        const auto& looked_for = value_in(values[0], properties);
        if (looked_for.is_null()) return std::nullopt;
        return std::any_of(values.begin() + 1, values.end(), [&](const WhereValue& each) {
          return compare(WhereOp::kEqual, looked_for, value_in(each, properties)).value_or(false);
        });
      }
      case kIsNull:
        return value_in(values[0], properties).is_null();
    }
    return std::nullopt;
  }

 private:
  /// `decisive` as soon as a child is that; else unknown if one is; else the contrary.
  Truth all_or_any(const nlohmann::json& properties, bool decisive) const {
    Truth truth = !decisive;
    for (const Node& child : children) {
      const Truth of_child = child.truth(properties);
      if (of_child == Truth(decisive)) return decisive;
      if (!of_child) truth = std::nullopt;
    }
    return truth;
  }
};

class WhereParser {
 public:
  explicit WhereParser(std::string_view text) : text_(text) {}

  Result<Where> parse() {
    Where::Node root;
    if (auto ok = parse_or(root, 0); !ok) return fail(ok.error());
    skip_spaces();
    if (at_ != text_.size()) return expected("and, or, or the end");
    return Where(std::make_shared<const Where::Node>(std::move(root)));
  }

 private:
  using Node = Where::Node;

  Status parse_or(Node& node, int depth) {
    return parse_chain(node, Node::kOr, "or", [&](Node& child) {
      return parse_chain(child, Node::kAnd, "and",
                         [&](Node& inner) { return parse_not(inner, depth); });
    });
  }

  /// One child, or several with a word between them.
  template <typename F>
  Status parse_chain(Node& node, Node::Kind kind, std::string_view word, F&& parse_child) {
    if (auto ok = parse_child(node); !ok) return ok;
    if (!take_word(word)) return {};
    Node chain;
    chain.kind = kind;
    chain.children.push_back(std::move(node));
    do {
      if (auto ok = parse_child(chain.children.emplace_back()); !ok) return ok;
    } while (take_word(word));
    node = std::move(chain);
    return {};
  }

  Status parse_not(Node& node, int depth) {
    if (depth > kMaxWhereDepth) {
      return fail(ErrorCode::kTooLarge, here() + "the expression is nested deeper than " +
                                            std::to_string(kMaxWhereDepth) + " levels");
    }
    if (take_word("not")) {
      node.kind = Node::kNot;
      return parse_not(node.children.emplace_back(), depth + 1);
    }
    if (!take("(")) return parse_condition(node);
    if (auto ok = parse_or(node, depth + 1); !ok) return ok;
    return take(")") ? Status() : expected("and, or, or )");
  }

  Status parse_condition(Node& node) {
    if (auto ok = parse_value(node.values.emplace_back(), true); !ok) return ok;
    if (take_word("is")) {
      const bool is_not = take_word("not");
      if (!take_word("null")) return expected(is_not ? "null" : "null or not null");
      node.kind = Node::kIsNull;
      if (is_not) negate(node);
      return {};
    }
    const bool is_not = take_word("not");
    if (take_word("in")) {
      if (auto ok = parse_list(node); !ok) return ok;
      if (is_not) negate(node);
      return {};
    }
    if (is_not) return expected("in");
    static constexpr std::pair<std::string_view, WhereOp> kOps[] = {
        {"=", WhereOp::kEqual},         {"!=", WhereOp::kNotEqual}, {"<=", WhereOp::kLessEqual},
        {">=", WhereOp::kGreaterEqual}, {"<", WhereOp::kLess},      {">", WhereOp::kGreater}};
    const auto* op = std::ranges::find_if(kOps, [&](const auto& each) { return take(each.first); });
    if (op == std::end(kOps)) return expected("=, !=, <, <=, >, >=, in or is");
    node.kind = Node::kCompare;
    node.op = op->second;
    return parse_value(node.values.emplace_back(), true);
  }

  static void negate(Node& node) {
    Node outer;
    outer.kind = Node::kNot;
    outer.children.push_back(std::move(node));
    node = std::move(outer);
  }

  Status parse_list(Node& node) {
    node.kind = Node::kIn;
    if (!take("(")) return expected("(");
    do {
      if (auto ok = parse_value(node.values.emplace_back(), false); !ok) return ok;
    } while (take(","));
    return take(")") ? Status() : expected(", or )");
  }

  Status parse_value(WhereValue& value, bool may_be_name) {
    const std::string what = may_be_name ? "a name or a value" : "a value";
    skip_spaces();
    if (at_ == text_.size()) return expected(what);
    const char first = text_[at_];
    if (first == '\'' || first == '"') return parse_quoted(value, "the end of a string");
    if (first == '`' && may_be_name) {
      if (auto ok = parse_quoted(value, "the end of a name"); !ok) return ok;
      value = WhereName{std::get<WhereLiteral>(value).get<std::string>()};
      return {};
    }
    if ((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.') {
      return parse_number(value);
    }
    if (is_word("null")) return expected(what + " (null is asked for by \"is null\")");
    if (take_word("true")) return value = WhereLiteral(true), Status();
    if (take_word("false")) return value = WhereLiteral(false), Status();
    const std::string_view name = word();
    const bool is_key =
        std::ranges::any_of(kKeyWords, [&](std::string_view each) { return is_word(each); });
    if (name.empty() || is_key || !may_be_name) return expected(what);
    at_ += name.size();
    value = WhereName{std::string(name)};
    return {};
  }

  Status parse_quoted(WhereValue& value, std::string_view what) {
    const char quote = text_[at_++];
    std::string text;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) {
        if (at_ + 1 == text_.size() || text_[at_ + 1] != quote) {
          ++at_;
          value = WhereLiteral(std::move(text));
          return {};
        }
        ++at_;
      }
      text += text_[at_];
    }
    return expected(what);
  }

  Status parse_number(WhereValue& value) {
    if (text_[at_] == '+') ++at_;
    const char* const begin = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    const char* stop = nullptr;
    double number = 0;
    const auto read = std::from_chars(begin, end, number);
    stop = read.ptr;
    if (read.ec != std::errc() || !std::isfinite(number)) {
      return expected("a number that a double can hold");
    }
    value = WhereLiteral(number);
    std::int64_t whole = 0;
    std::uint64_t large = 0;
    if (const auto of = std::from_chars(begin, end, whole);
        of.ec == std::errc() && of.ptr == stop) {
      value = WhereLiteral(whole);
    } else if (const auto more = std::from_chars(begin, end, large);
               more.ec == std::errc() && more.ptr == stop) {
      value = WhereLiteral(large);
    }
    at_ += static_cast<std::size_t>(stop - begin);
    if (!word().empty()) return expected("the end of a number");
    return {};
  }

  void skip_spaces() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || (text_[at_] >= '\t' && text_[at_] <= '\r'))) {
      ++at_;
    }
  }
  bool take(std::string_view sign) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(sign)) return false;
    at_ += sign.size();
    return true;
  }
  /// Letters, digits, _ and what is not ASCII, from here on.
  std::string_view word() const {
    std::size_t end = at_;
    while (end < text_.size() &&
           (text_[end] == '_' || (text_[end] >= '0' && text_[end] <= '9') ||
            (text_[end] >= 'a' && text_[end] <= 'z') || (text_[end] >= 'A' && text_[end] <= 'Z') ||
            static_cast<unsigned char>(text_[end]) >= 0x80)) {
      ++end;
    }
    return text_.substr(at_, end - at_);
  }
  bool is_word(std::string_view wanted) const {
    return std::ranges::equal(word(), wanted, [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
  }
  bool take_word(std::string_view wanted) {
    skip_spaces();
    if (!is_word(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  std::string here() const { return "column " + std::to_string(at_ + 1) + ": "; }
  tl::unexpected<Error> expected(std::string_view what) {
    skip_spaces();
    const std::string_view found = word().empty() ? text_.substr(at_, 1) : word().substr(0, 40);
    return fail(ErrorCode::kInvalidArgument,
                here() + "expected " + std::string(what) + ", got " +
                    (at_ == text_.size() ? "the end" : "\"" + printable(found) + "\""));
  }

  static constexpr std::string_view kKeyWords[] = {"and", "or", "not", "in", "is"};

  std::string_view text_;
  std::size_t at_ = 0;
};

Result<Where> Where::parse(std::string_view text) {
  if (text.size() > kMaxWhere) {
    return fail(ErrorCode::kTooLarge, "the expression has " + std::to_string(text.size()) +
                                          " bytes: at most " + std::to_string(kMaxWhere) +
                                          " are taken");
  }
  return WhereParser(text).parse();
}

bool Where::matches(const nlohmann::json& properties) const {
  static const nlohmann::json kNone = nlohmann::json::object();
  return root_->truth(properties.is_object() ? properties : kNone).value_or(false);
}

}  // namespace silurus::geometry
