/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/bundle.h"

void netlog_bundle_begin(struct netlog_bundler *bundler, uint32_t most)
{
	bundler->most = most;
	bundler->n_bundles = bundler->n_vectors = bundler->header_bytes = 0;
}

/* Whether the datagram may follow those of the bundle. */
static bool takes(const struct netlog_bundler *bundler, const struct netlog_bundle *bundle,
		  const struct netlog_endpoint *endpoint, uint32_t bytes)
{
	return !bundle->ended && bundle->endpoint == endpoint && bytes <= bundle->datagram_bytes &&
	       bundle->datagrams < bundler->most && bundle->length + bytes <= NETLOG_BUNDLE_BYTES;
}

/* Returns the bundle that takes the datagram, or NULL if there is no room for a new bundle. */
static struct netlog_bundle *bundle_for(struct netlog_bundler *bundler,
					const struct netlog_endpoint *endpoint, uint32_t bytes)
{
	struct netlog_bundle *last = bundler->bundles + bundler->n_bundles;

	if (bundler->n_bundles && takes(bundler, last - 1, endpoint, bytes))
		return last - 1;
	if (bundler->n_bundles == NETLOG_BATCH)
		return NULL;
	*last = (struct netlog_bundle){
		.endpoint = endpoint, .first = bundler->n_vectors, .datagram_bytes = bytes};
	bundler->n_bundles++;
	return last;
}

static void add_vector(struct netlog_bundler *bundler, struct netlog_bundle *bundle,
		       const uint8_t *bytes, uint32_t n)
{
	bundler->vectors[bundler->n_vectors++] =
		(struct iovec){.iov_base = (void *)bytes, .iov_len = n};
	bundle->n_vectors++;
}

bool netlog_bundle_add(struct netlog_bundler *bundler, const struct netlog_endpoint *endpoint,
		       const struct netlog_segments *plan, uint32_t i)
{
	uint32_t payload = segment_payload_bytes(plan, i);
	uint32_t bytes = plan->headers + payload;

	if (bundler->n_vectors + 2 > NETLOG_BUNDLE_VECTORS ||
	    bundler->header_bytes + plan->headers > NETLOG_BUNDLE_HEADER_BYTES)
		return false;
	struct netlog_bundle *bundle = bundle_for(bundler, endpoint, bytes);

	if (!bundle)
		return false;
	if (plan->headers) {
		uint8_t *headers = bundler->headers + bundler->header_bytes;

		netlog_segment_headers(plan, i, headers);
		add_vector(bundler, bundle, headers, plan->headers);
		bundler->header_bytes += plan->headers;
	}
	add_vector(bundler, bundle, segment_payload(plan, i), payload);
	bundle->length += bytes;
	bundle->datagrams++;
	bundle->ended = bytes < bundle->datagram_bytes;
	return true;
}
