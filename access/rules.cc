// SPDX-License-Identifier: Apache-2.0

#include "access/rules.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "access/private_file.h"
#include "common/toml.h"

namespace silurus::access {
namespace {

/// What a file of rules may have at most.
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
/// First size of the buffer for what the system says of one user or group; it grows if that is too
/// small.
constexpr std::size_t kNameBytes = 1024;
constexpr std::size_t kMostNameBytes = std::size_t{1} << 20;
constexpr std::uint32_t kMostGroups = 65536;
/// Longest name of a collection that a rule may have; a server has none that is as long.
constexpr std::size_t kMostCollectionBytes = 256;
/// Collections that a message names.
constexpr std::size_t kMostNamed = 8;

constexpr std::array<std::pair<std::string_view, Role>, 3> kRoles{
    {{"reader", Role::kReader}, {"writer", Role::kWriter}, {"operator", Role::kOperator}}};

/// Calls one of getpwnam_r and its sisters with room enough: whether there is such an entry.
template <typename Entry, typename Ask>
bool ask_system(Entry& entry, std::vector<char>& room, Ask&& ask) {
  for (room.resize(kNameBytes); room.size() <= kMostNameBytes; room.resize(2 * room.size())) {
    Entry* found = nullptr;
    const int error = ask(entry, room, found);
    if (error == ERANGE) continue;
    return error == 0 && found != nullptr;
  }
  return false;
}

/// The name of a user, and the group of its entry; empty if there is none.
struct User {
  std::string name;
  gid_t group = 0;
};
User user_of(uid_t id) {
  passwd entry{};
  std::vector<char> room;
  const bool is_there = ask_system(entry, room, [id](passwd& to, auto& bytes, passwd*& found) {
    return getpwuid_r(id, &to, bytes.data(), bytes.size(), &found);
  });
  return is_there ? User{entry.pw_name, entry.pw_gid} : User{};
}

std::optional<std::uint32_t> id_of_user(const std::string& name) {
  passwd entry{};
  std::vector<char> room;
  const bool is_there = ask_system(entry, room, [&](passwd& to, auto& bytes, passwd*& found) {
    return getpwnam_r(name.c_str(), &to, bytes.data(), bytes.size(), &found);
  });
  return is_there ? std::optional(entry.pw_uid) : std::nullopt;
}

std::optional<std::uint32_t> id_of_group(const std::string& name) {
  group entry{};
  std::vector<char> room;
  const bool is_there = ask_system(entry, room, [&](group& to, auto& bytes, group*& found) {
    return getgrnam_r(name.c_str(), &to, bytes.data(), bytes.size(), &found);
  });
  return is_there ? std::optional(entry.gr_gid) : std::nullopt;
}

bool is_in_group(uid_t user, gid_t group) {
  const User known = user_of(user);
  if (known.name.empty()) return false;
  std::vector<gid_t> groups(32);
  for (;;) {
    int count = static_cast<int>(groups.size());
    if (getgrouplist(known.name.c_str(), known.group, groups.data(), &count) >= 0) {
      groups.resize(static_cast<std::size_t>(count));
      return std::ranges::find(groups, group) != groups.end();
    }
    if (groups.size() >= kMostGroups) return false;
    groups.resize(2 * groups.size());
  }
}

}  // namespace

std::string_view to_string(Role role) {
  for (const auto& [name, one] : kRoles) {
    if (one == role) return name;
  }
  return "none";
}

Role Rights::in(std::string_view collection) const {
  const auto found = in_some.find(collection);
  return found == in_some.end() ? everywhere : std::max(everywhere, found->second);
}

Role Rights::greatest() const {
  Role greatest = everywhere;
  for (const auto& [name, role] : in_some) greatest = std::max(greatest, role);
  return greatest;
}

std::string Rights::to_string() const {
  std::string some;
  std::size_t named = 0;
  for (const auto& [name, role] : in_some) {
    if (++named > kMostNamed) break;
    some += (some.empty() ? "" : ", ") + std::string(access::to_string(role)) + " of '" +
            printable(name) + "'";
  }
  if (named > kMostNamed) some += ", and others";
  const std::string all(access::to_string(everywhere));
  return some.empty() ? all : all + " (" + some + ")";
}

std::string Principal::describe() const {
  if (key) return "the key " + key->to_string() + " from " + (from.empty() ? "here" : from);
  if (!user) return "a client of " + from;
  const User known = user_of(*user);
  const std::string text = "user " + std::to_string(*user);
  return known.name.empty() ? text : text + " (" + printable(known.name) + ")";
}

/// Parses one file.
struct Parser {
  const std::string& name;
  const uid_t own;
  Rules rules;

  tl::unexpected<Error> bad(const toml::source_region& where, const std::string& what) const {
    return fail(ErrorCode::kInvalidArgument,
                name + ":" + std::to_string(where.begin.line) + ": " + what);
  }

  Result<Role> role_of(const toml::node& node) const {
    const auto text = node.value_exact<std::string>();
    const auto found =
        std::ranges::find_if(kRoles, [&](const auto& role) { return text && role.first == *text; });
    if (found != kRoles.end()) return found->second;
    return bad(node.source(), "a role is \"reader\", \"writer\" or \"operator\"");
  }

  /// `kind`: "user" or "group", named or by its number.
  Result<std::uint32_t> id_of(const toml::node& node, const char* kind) const {
    if (const auto number = node.value_exact<std::int64_t>()) {
      if (*number >= 0 && *number < INT64_C(0xffffffff)) {
        return static_cast<std::uint32_t>(*number);
      }
    } else if (const auto text = node.value_exact<std::string>(); text && !text->empty()) {
      const auto id = kind == std::string_view("user") ? id_of_user(*text) : id_of_group(*text);
      if (id) return *id;
      return bad(node.source(), "there is no " + std::string(kind) + " \"" + printable(*text) +
                                    "\" on this machine");
    }
    return bad(node.source(), std::string("\"") + kind + "\" is a name or a number");
  }

  /// The key in the file that is named, beside the file of rules; its id.
  Result<KeyId> take_key(const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    if (!text || text->empty()) return bad(node.source(), "\"key\" is the path of a file");
    const auto path = std::filesystem::path(name).parent_path() / *text;
    auto key = Key::read(path.string(), own);
    if (!key) return bad(node.source(), key.error().message);
    const KeyId id = key->label().id;
    rules.keys_.insert_or_assign(id, std::move(*key));
    return id;
  }

  /// None is no list: it would read like "for no collection" and mean all.
  Result<std::vector<std::string>> collections_of(const toml::node& node) const {
    std::vector<std::string> names;
    const toml::array* const list = node.as_array();
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const auto one = (*list)[i].value_exact<std::string>();
      if (!one || one->empty() || one->size() > kMostCollectionBytes) {
        return bad((*list)[i].source(), "\"collections\" are names");
      }
      names.push_back(*one);
    }
    if (!names.empty()) return names;
    return bad(node.source(), "\"collections\" is a list of names, one at least");
  }

  /// Whom a rule is about, by one of the fields that say so.
  Result<Rules::Rule> subject_of(std::string_view field, const toml::key& key,
                                 const toml::node& node) {
    if (field == "anyone") {
      if (node.value_exact<bool>() != true) return bad(node.source(), "\"anyone\" is true");
      return Rules::Rule{Rules::Kind::kAnyone, 0, Role::kNone};
    }
    if (field == "key") {
      const auto id = take_key(node);
      if (!id) return fail(id.error());
      return Rules::Rule{Rules::Kind::kKey, *id, Role::kNone};
    }
    if (field != "user" && field != "group") {
      return bad(key.source(), "unknown key \"" + printable(field) +
                                   "\": a principal has user, group, key or anyone, role, and "
                                   "perhaps collections");
    }
    const auto id = id_of(node, field == "user" ? "user" : "group");
    if (!id) return fail(id.error());
    return Rules::Rule{field == "user" ? Rules::Kind::kUser : Rules::Kind::kGroup, *id,
                       Role::kNone};
  }

  Status take(const toml::table& principal) {
    std::optional<Rules::Rule> rule;
    std::optional<Role> role;
    std::vector<std::string> collections;
    for (const auto& [key, node] : principal) {
      const std::string_view field = key.str();
      if (field == "role") {
        const auto found = role_of(node);
        if (!found) return fail(found.error());
        role = *found;
      } else if (field == "collections") {
        auto names = collections_of(node);
        if (!names) return fail(names.error());
        collections = std::move(*names);
      } else {
        auto subject = subject_of(field, key, node);
        if (!subject) return fail(subject.error());
        if (rule) return bad(key.source(), "a principal is one of user, group, key and anyone");
        rule = std::move(*subject);
      }
    }
    if (!rule) return bad(principal.source(), "a principal without user, group, key or anyone");
    if (!role) return bad(principal.source(), "a principal without role");
    rule->role = *role;
    rule->collections = std::move(collections);
    rules.rules_.push_back(std::move(*rule));
    return {};
  }

  Status take_all(const toml::table& table) {
    for (const auto& [key, node] : table) {
      if (key.str() != "principal") {
        return bad(key.source(),
                   "unknown key \"" + printable(key.str()) + "\": [[principal]] is what there is");
      }
      const toml::array* const list = node.as_array();
      if (list == nullptr) return bad(node.source(), "write [[principal]], with two brackets");
      for (const toml::node& one : *list) {
        if (!one.is_table()) return bad(one.source(), "write [[principal]], with two brackets");
        if (auto ok = take(*one.as_table()); !ok) return ok;
      }
    }
    return {};
  }
};

Rules Rules::of_user(uid_t own, Role others) {
  Rules rules;
  for (const uid_t trusted : {own, uid_t{0}}) {
    rules.rules_.push_back({Kind::kUser, trusted, Role::kOperator});
  }
  if (others != Role::kNone) rules.rules_.push_back({Kind::kAnyone, 0, others});
  return rules;
}

Result<Rules> Rules::parse(std::string_view text, const std::string& name, uid_t own) {
  Parser parser{name, own, of_user(own)};
  try {
    const toml::table table = toml::parse(text);
    if (auto ok = parser.take_all(table); !ok) return fail(ok.error());
  } catch (const toml::parse_error& error) {
    return parser.bad(error.source(), std::string(error.description()));
  } catch (const std::exception& error) {
    return fail(ErrorCode::kInvalidArgument, name + ": " + error.what());
  }
  return std::move(parser.rules);
}

Result<Rules> Rules::read(const std::string& path, uid_t own) {
  const auto text = read_private_file(path, {"the access rules", kMaxFileBytes}, own);
  if (!text) return fail(text.error());
  return parse(*text, path, own);
}

bool Rules::is_about(const Rule& rule, const Principal& principal) const {
  switch (rule.kind) {
    case Kind::kUser:
      return principal.user == rule.id;
    case Kind::kGroup:
      return principal.user && is_in_group(*principal.user, static_cast<gid_t>(rule.id));
    case Kind::kKey:
      return principal.key && principal.key->id == rule.id;
    case Kind::kAnyone:
      return true;
  }
  return false;
}

Rights Rules::rights_of(const Principal& principal) const {
  Rights rights;
  for (const Rule& rule : rules_) {
    if (rule.role <= rights.everywhere || !is_about(rule, principal)) continue;
    if (rule.collections.empty()) rights.everywhere = rule.role;
    for (const std::string& name : rule.collections) {
      Role& role = rights.in_some[name];
      role = std::max(role, rule.role);
    }
  }
  std::erase_if(rights.in_some, [&](const auto& one) { return one.second <= rights.everywhere; });
  return rights;
}

const Key* Rules::key(KeyId id) const {
  const auto found = keys_.find(id);
  return found == keys_.end() ? nullptr : &found->second;
}

Error lacks_role(const std::string& who, const Rights& has, Role needs, std::string_view to_do,
                 std::string_view collection) {
  // A principal with one role for everything need not hear of collections.
  std::string what;
  if (!has.in_some.empty()) {
    what = collection.empty() ? " of all collections" : " of '" + printable(collection) + "'";
  }
  return {ErrorCode::kPermission, who + " may not " + std::string(to_do) + ": it has the role " +
                                      has.to_string() + " here, and needs " +
                                      std::string(to_string(needs)) + what +
                                      " (the server's --access, SECURITY.md)"};
}

}  // namespace silurus::access
