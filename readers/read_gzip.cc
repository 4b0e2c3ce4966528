#include "readers/gzip.h"

int main(int argc, char** argv) {
  silurus::readers::serve_bytes(argc, argv, silurus::readers::open_gzip);
}
