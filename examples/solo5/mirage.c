/* For MirageOS: mirage-solo5 has the application's main function, which stays as it is. Linked with -Wl,--wrap=solo5_app_main, this comes
 * before it. */

#include "glue.h"

void uniprof_ml_watch_collections(void);

int __real_solo5_app_main(const struct solo5_start_info *info);

int __wrap_solo5_app_main(const struct solo5_start_info *info)
{
    static const char sorry[] = "uniprof is off\n";
    if (uniprof_solo5_start(info, "mirage", 4096))
        solo5_console_write(sorry, sizeof sorry - 1);
    uniprof_ml_watch_collections();
    return __real_solo5_app_main(info);
}
