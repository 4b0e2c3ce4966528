#include "readers/gshhg.h"

int main(int argc, char** argv) {
  silurus::readers::serve<2>(argc, argv, silurus::readers::open_gshhg);
}
