package com.alibaba.nacos;

import com.alibaba.nacos.core.code.ControllerMethodsCache;
import com.alibaba.nacos.plugin.auth.exception.AccessException;
import javax.annotation.PostConstruct;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.scheduling.annotation.EnableScheduling;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.ControllerAdvice;
import org.springframework.web.bind.annotation.ExceptionHandler;

/** Nacos 2.2.4 without its console module, which holds the original main class and is not published. */
@SpringBootApplication(scanBasePackages = "com.alibaba.nacos")
@ServletComponentScan
@EnableScheduling
public class NacosServer {

    public static void main(String[] args) {
        // A test server must not outlive the test run that started it, however that run ends.
        Long owner = Long.getLong("nacosfs.owner.pid");
        if (owner != null) {
            ProcessHandle.of(owner).orElseThrow().onExit().thenRun(() -> Runtime.getRuntime().halt(0));
        }
        try {
            SpringApplication.run(NacosServer.class, args);
        } catch (RuntimeException e) {
            // Threads of the parts that did start would keep a half-started server alive.
            e.printStackTrace();
            System.exit(1);
        }
    }

    /**
     * The auth filter only guards the controllers listed in ControllerMethodsCache, and in a release it is the console
     * that lists them. Without this every request is let through although auth is on.
     */
    @Component
    static class SecuredControllers {

        private final ControllerMethodsCache methodsCache;

        SecuredControllers(ControllerMethodsCache methodsCache) {
            this.methodsCache = methodsCache;
        }

        @PostConstruct
        void register() {
            methodsCache.initClassMethod("com.alibaba.nacos.core.controller");
            methodsCache.initClassMethod("com.alibaba.nacos.naming.controllers");
            methodsCache.initClassMethod("com.alibaba.nacos.config.server.controller");
        }
    }

    /**
     * A refused login. In a release the console answers it like this; the handler of the config module would answer
     * with status 0, which is not HTTP.
     */
    @ControllerAdvice
    @Order(Ordered.HIGHEST_PRECEDENCE)
    static class AccessRefused {

        @ExceptionHandler(AccessException.class)
        ResponseEntity<String> answer(AccessException e) {
            return ResponseEntity.status(HttpStatus.FORBIDDEN).body(e.getErrMsg());
        }
    }
}
