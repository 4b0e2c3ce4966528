#pragma once

#include <string>

#include "common/api.h"

namespace silurus::protocol {

/// Where a server listens and a client looks when nobody says otherwise: the environment variable
/// SILURUS_SERVER; else shm:///run/user/UID/silurus.sock where the system has that folder (a login
/// session's own), shm:///tmp/silurus-UID.sock where it hasn't.
SILURUS_API std::string default_url();

}  // namespace silurus::protocol
