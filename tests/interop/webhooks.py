"""Verifies a delivery (a JSON file with secrets, headers and body) with Python's standardwebhooks."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

delivery = json.load(open(sys.argv[1], encoding="utf-8"))
for secret in delivery["secrets"]:
    event = Webhook(secret).verify(delivery["body"], delivery["headers"])
    assert event["id"] == delivery["headers"]["webhook-id"], event
try:
    Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(delivery["body"], delivery["headers"])
    sys.exit("another secret verified it too")
except WebhookVerificationError:
    pass
try:
    Webhook(delivery["secrets"][0]).verify(delivery["body"] + " ", delivery["headers"])
    sys.exit("another body was verified too")
except WebhookVerificationError:
    print(f"verified with {len(delivery['secrets'])} secrets")
