// SPDX-License-Identifier: Apache-2.0

#include "replication/group/view.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/json.h"

namespace silurus::replication::group {
namespace {

using nlohmann::json;

tl::unexpected<Error> bad(const std::string& what) {
  return fail(ErrorCode::kProtocol, "the view store holds what no member wrote: " + what);
}

/// Whole numbers of 64 bits as text: not all readers of JSON have them.
std::string to_text(std::uint64_t number) { return std::to_string(number); }

/// Reads fields of one object, and remembers the first that is not as it should be.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {
    if (!object.is_object()) wrong_ = "not an object";
  }

  std::uint64_t number(const char* name) {
    const std::string digits = text(name, 20);
    std::uint64_t value = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9' || __builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<std::uint64_t>(c - '0'), &value)) {
        complain(name);
        return 0;
      }
    }
    if (digits.empty()) complain(name);
    return value;
  }
  Epoch epoch(const char* name) {
    const std::uint64_t value = number(name);
    if (value > UINT32_MAX) complain(name);
    return static_cast<Epoch>(value);
  }
  std::uint32_t members(const char* name) {
    const std::uint64_t value = number(name);
    if (value > kMaxMembers) complain(name);
    return static_cast<std::uint32_t>(value);
  }
  std::string text(const char* name, std::size_t max_bytes = kMaxAddressBytes) {
    const auto found = wrong_ ? object_.end() : object_.find(name);
    if (wrong_ || found == object_.end() || !found->is_string() ||
        found->get_ref<const std::string&>().size() > max_bytes) {
      complain(name);
      return {};
    }
    return found->get<std::string>();
  }
  void complain(const char* what) {
    if (!wrong_) wrong_ = what;
  }
  const std::optional<std::string>& wrong() const { return wrong_; }

 private:
  const json& object_;
  std::optional<std::string> wrong_;
};

json to_json(const MemberInfo& member) {
  return {{"id", to_text(member.id)}, {"peers", member.peers}, {"clients", member.clients}};
}

json to_json(const View& view) {
  json members = json::array();
  for (const MemberInfo& member : view.members) members.push_back(to_json(member));
  return {{"epoch", to_text(view.epoch)},
          {"primary", to_text(view.primary)},
          {"incarnation", to_text(view.incarnation)},
          {"since", to_text(view.since)},
          {"ack", to_string(view.ack)},
          {"min_members", to_text(view.min_members)},
          {"most_members", to_text(view.most_members)},
          {"members", members}};
}

Result<MemberInfo> member_of(const json& object) {
  Fields fields(object);
  MemberInfo member{fields.number("id"), fields.text("peers"), fields.text("clients")};
  if (member.id == 0) fields.complain("id");
  if (fields.wrong()) return bad("member: " + *fields.wrong());
  return member;
}

constexpr std::array kAcks = {Ack::kAll, Ack::kQuorum, Ack::kMetadata};

Result<View> view_of(const json& object) {
  Fields fields(object);
  View view;
  view.epoch = fields.epoch("epoch");
  view.primary = fields.number("primary");
  view.incarnation = fields.number("incarnation");
  view.since = fields.epoch("since");
  const auto ack = parse_ack(fields.text("ack"));
  if (ack) {
    view.ack = *ack;
  } else {
    fields.complain("ack");
  }
  // Earlier versions did not say.
  if (object.contains("min_members")) view.min_members = fields.members("min_members");
  const bool says_most = object.contains("most_members");
  if (says_most) view.most_members = fields.members("most_members");
  if (view.since == 0 || view.since > view.epoch) fields.complain("since");
  if (view.epoch == 0) fields.complain("epoch");
  if (view.incarnation == 0) fields.complain("incarnation");
  const auto members = object.is_object() ? object.find("members") : object.end();
  if (!object.is_object() || members == object.end() || !members->is_array() ||
      members->size() > kMaxMembers) {
    fields.complain("members");
  }
  if (fields.wrong()) return bad("view: " + *fields.wrong());
  for (const json& one : *members) {
    auto member = member_of(one);
    if (!member) return fail(member.error());
    if (view.has(member->id)) return bad("view: a member twice");
    view.members.push_back(std::move(*member));
  }
  if (!view.has(view.primary)) return bad("view: a primary that is no member");
  if (!says_most) view.count();
  return view;
}

}  // namespace

std::string_view to_string(Ack ack) {
  switch (ack) {
    case Ack::kAll:
      return "all";
    case Ack::kQuorum:
      return "quorum";
    case Ack::kMetadata:
      return "metadata";
  }
  return "?";
}

Result<Ack> parse_ack(std::string_view text) {
  for (const Ack one : kAcks) {
    if (text == to_string(one)) return one;
  }
  return fail(ErrorCode::kInvalidArgument, "\"" + std::string(text) +
                                               "\" says not when a write is acknowledged: all, "
                                               "quorum or metadata do");
}

Result<std::uint32_t> parse_min_members(std::string_view text) {
  if (text == "majority") return 0;
  std::uint32_t members = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), members);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (is_number && members >= 1 && members <= kMaxMembers) return members;
  return fail(ErrorCode::kInvalidArgument,
              "\"" + std::string(text) + "\" is no number of members: 1 to " +
                  std::to_string(kMaxMembers) +
                  " are, or \"majority\" of the most that were in a view at once");
}

const MemberInfo* View::find(MemberId id) const {
  const auto found = std::ranges::find(members, id, &MemberInfo::id);
  return found == members.end() ? nullptr : &*found;
}

std::string too_few_members(const View& view) {
  const std::size_t copies = view.members.size();
  return "the group has " + std::to_string(copies) + (copies == 1 ? " copy" : " copies") +
         ", and acknowledges no write with fewer than " + std::to_string(view.needed()) +
         ": start its other members (silurus stats shows who is joining, and how far), or, to "
         "write with fewer, start this one again with --min-members " +
         std::to_string(copies);
}

std::string encode(const View& view) { return json_text(to_json(view)); }

std::string encode(const Registration& registration) {
  return json_text(json{{"member", to_json(registration.member)},
                        {"incarnation", to_text(registration.incarnation)},
                        {"candidate_for", to_text(registration.candidate_for)},
                        {"durable", to_text(registration.durable)},
                        {"log_epoch", to_text(registration.log_epoch)},
                        {"copy_chain", to_text(registration.copy_chain)}});
}

std::string encode(const PersistedView& kept) {
  return json_text(json{{"founder", to_text(kept.founder)},
                        {"taken_over_at", to_text(kept.taken_over_at)},
                        {"view", to_json(kept.view)}});
}

Result<View> decode_view(std::string_view text) { return view_of(parse_json(text)); }

Result<Registration> decode_registration(std::string_view text) {
  const json object = parse_json(text);
  Fields fields(object);
  Registration registration;
  registration.incarnation = fields.number("incarnation");
  registration.candidate_for = fields.epoch("candidate_for");
  registration.durable = fields.number("durable");
  registration.log_epoch = fields.epoch("log_epoch");
  // Earlier versions did not say.
  if (object.contains("copy_chain")) registration.copy_chain = fields.number("copy_chain");
  if (registration.incarnation == 0) fields.complain("incarnation");
  if (fields.wrong()) return bad("registration: " + *fields.wrong());
  const auto member = object.find("member");
  if (member == object.end()) return bad("registration: member");
  auto decoded = member_of(*member);
  if (!decoded) return fail(decoded.error());
  registration.member = std::move(*decoded);
  return registration;
}

Result<PersistedView> decode_persisted_view(std::string_view text) {
  const json object = parse_json(text);
  Fields fields(object);
  PersistedView kept{.founder = fields.number("founder"),
                     .taken_over_at = fields.epoch("taken_over_at"),
                     .view = {}};
  if (kept.founder == 0) fields.complain("founder");
  if (fields.wrong()) return bad("kept view: " + *fields.wrong());
  auto view = view_of(json_field(object, "view"));
  if (!view) return fail(view.error());
  kept.view = std::move(*view);
  if (kept.taken_over_at >= kept.view.epoch) return bad("kept view: taken_over_at");
  return kept;
}

}  // namespace silurus::replication::group
