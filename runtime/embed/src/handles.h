// What the files of the C interface share: its handles, and the way from exceptions to statuses.
#pragma once

#include <lehrnet.h>

#include <exception>
#include <new>

#include "failure.h"
#include "session.h"

struct lehrnet_session : lehrnet::Session {
    using Session::Session;
};

namespace lehrnet {

// The status, after its sentence was kept for lehrnet_last_error.
lehrnet_status failed(lehrnet_status status, const char* message) noexcept;

template <class Call>
lehrnet_status guarded(Call&& call) noexcept {
    try {
        call();
        return LEHRNET_OK;
    } catch (const Failure& failure) {
        return failed(failure.status, failure.what());
    } catch (const std::bad_alloc&) {
        return failed(LEHRNET_OUT_OF_MEMORY, "out of memory; a smaller max_batch takes less");
    } catch (const std::exception& error) {
        return failed(LEHRNET_INTERNAL, error.what());
    } catch (...) {
        return failed(LEHRNET_INTERNAL, "an unknown exception");
    }
}

template <class Pointer>
void need(Pointer* pointer, const char* name) {
    if (!pointer) fail(LEHRNET_INVALID_ARGUMENT, name, " is NULL");
}

}  // namespace lehrnet
