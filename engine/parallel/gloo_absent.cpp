#include "engine/parallel/gloo_communicator.h"

// Stands in for gloo_communicator.cpp in builds without Gloo.

namespace zeroth {

std::string why_no_gloo() {
  return "this build has no Gloo, which carries ranks on CPUs: install libgloo-dev and build again";
}

std::unique_ptr<Communicator> make_gloo_communicator(Rendezvous&, const std::string&) {
  fail(ErrorKind::device, why_no_gloo());
}

}  // namespace zeroth
