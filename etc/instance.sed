# Makes the unit of one of several instances, proximux@NAME.service, of that of the single one.
s|^Description=.*|&, instance %i|
s|^RuntimeDirectory=proximux$|RuntimeDirectory=proximux-%i|
s|/run/proximux for|/run/proximux-%i for|
s|^Type=notify$|&\nEnvironment=PROXIMUX_ADMIN_LISTEN=unix:/run/proximux-%i/admin.sock|
1i\
# One of several processes that share the addresses of one configuration, each on a processor of its own:\
# "systemctl enable --now proximux@1 proximux@2". That takes "reuse_port = true" in the configuration's defaults. A\
# unix socket can't be shared: whatever has to differ is set by environment variables of the instance\
# ("systemctl edit proximux@1"), see proximux.conf(5).\

