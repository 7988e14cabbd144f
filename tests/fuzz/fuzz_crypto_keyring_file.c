/* The file of a keyring, and one of an access key. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "crypto/credentials.h"
#include "crypto/keyring.h"

FUZZ_SEEDS(FUZZ_SEED("# c\nkey 0b7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d27 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"),
	   FUZZ_SEED("accessKey=a\nsecretKey = b\r\nsecurityToken=c\n"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[] = "/tmp/nacosfs-fuzz-XXXXXX";
	static int descriptor = -1;
	struct credential_source *source = NULL;
	struct key_service *service = NULL;
	struct call call;

	fuzz_start(&call);
	if (descriptor < 0)
		descriptor = mkstemp(path);
	if (ftruncate(descriptor, 0) || pwrite(descriptor, data, size, 0) != (ssize_t)size)
		abort();
	if (keyring_open(path, &call, &service) == 0)
		key_service_free(service);
	if (credential_file_open(path, &call, &source) == 0)
		credential_source_free(source);
	fuzz_end(0);
	return 0;
}
