// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdio>
#include <string>

#include "client/tool/arguments.h"
#include "client/tool/doctor_findings.h"
#include "common/result.h"

// `silurus doctor`: looks at this machine, its devices and a server, and says what to do.

namespace silurus::tool {

namespace doctor {

/// "ok", "warning", "error", "not-applicable".
std::string_view verdict_name(Verdict verdict);
/// One line that ends with "ok", "not applicable", or what to do.
std::string text_line(const Finding& finding);
/// An array of {"name", "status", "found", "advice"}.
std::string as_json(const Findings& findings);
/// A header line, and one line for each.
std::string as_csv(const Findings& findings);

}  // namespace doctor

/// Examines everything and writes the report to `out`, as text line by line while it goes. An error
/// (exit status 1) if any finding is one, or the report cannot be written.
Result<std::string> run_doctor(const DoctorCommand& command, const Settings& settings,
                               std::FILE* out = stdout);

}  // namespace silurus::tool
