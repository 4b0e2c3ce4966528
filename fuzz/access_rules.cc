// SPDX-License-Identifier: Apache-2.0

#include "access/rules.h"
#include "fuzz/target.h"

// The file that says who may do what: TOML.

namespace silurus::fuzz {

void try_input(std::span<const std::byte> bytes) {
  constexpr uid_t kOwn = 4711;
  const auto rules = access::Rules::parse(as_text(bytes), "rules", kOwn);
  if (!rules) {
    SILURUS_CHECK(rules.error().code == ErrorCode::kInvalidArgument);
    SILURUS_CHECK(rules.error().message.starts_with("rules:"));
    return;
  }
  SILURUS_CHECK(rules->role_of({kOwn, "own"}) == access::Role::kOperator);
  // What is not known of a client counts for nothing: it has no more than anyone has.
  SILURUS_CHECK(rules->role_of({std::nullopt, "far"}) <= rules->role_of({kOwn + 1, "near"}));
}

std::vector<std::string> seeds() {
  return {"[[principal]]\nuser = 4712\nrole = \"reader\"\n",
          "[[principal]]\nanyone = true\nrole = \"writer\"\n[[principal]]\ngroup = \"daemon\"\n"
          "role = \"operator\"\n",
          "principal = [{user = \"daemon\", role = \"reader\"}]\n"};
}

}  // namespace silurus::fuzz
