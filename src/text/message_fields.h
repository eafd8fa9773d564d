// One message of a request, from its JSON.
// Not the request around it (chat_request.cc).
#pragma once

#include "expertile/messages.h"
#include "text/json_field.h"

namespace expertile {

Result<Message> ParseMessage(const JsonField& field);

}  // namespace expertile
