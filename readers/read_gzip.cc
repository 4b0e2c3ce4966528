// SPDX-License-Identifier: Apache-2.0

#include "readers/gzip.h"

int main(int argc, char** argv) {
  silurus::readers::serve_bytes(argc, argv, silurus::readers::open_gzip);
}
